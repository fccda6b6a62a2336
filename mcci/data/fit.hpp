#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "mcci/data/dataset.hpp"
#include "mcci/data/reduction.hpp"
#include "mcci/imageio/image.hpp"

namespace mcci {

// The longest side of an image that a data set may declare or a user may ask for.
constexpr std::int64_t max_side = 4096;

// resize, pad, crop.
const std::vector<std::string>& fit_names();

// Errors: usage if fit, channels, image_size or memory_limit_gib is none of the values that DatasetOptions
// allows.
void check(const DatasetOptions& options);

// The shape that images of shape `source` shall get.
ImageShape fitted_shape(const ImageShape& source, const DatasetOptions& options);

// Images [B,C,H,W] uint8 with channels, height and width of `shape`; `fit` as in DatasetOptions. Grey is
// repeated, colour is reduced to ITU-R BT.601 luma. Returns `images` itself if they have the shape already.
at::Tensor fit_images(const at::Tensor& images, const ImageShape& shape, const std::string& fit);

// Fits one image after the other to `shape`. How JPEGs of one size are resized is kept for the next of that
// size.
class Fitter {
 public:
  Fitter(const ImageShape& shape, std::string fit);
  const ImageShape& shape() const { return shape_; }
  // Into `out` [1,C,H,W] uint8, contiguous: one image, as above.
  void operator()(const at::Tensor& image, at::Tensor out) const;
  // The same of a JPEG's planes, each resized by itself, then made red, green and blue. Requires
  // shape.channels of 3.
  void operator()(const JpegPlanes& jpeg, at::Tensor out);

 private:
  // Of the latest size.
  struct Plan {
    std::array<std::int64_t, 4> size;  // height and width, and the pixels of each that one of the colour has
    std::int64_t height;
    std::int64_t width;
    Reduction brightness;
    Reduction colour;
  };
  const Plan& plan_for(const JpegPlanes& jpeg);

  ImageShape shape_;
  std::string fit_;
  std::optional<Plan> plan_;
};

// Whether `count` images of `shape` may be held in memory.
bool fits_in_memory(std::int64_t count, const ImageShape& shape, const DatasetOptions& options);

// "3x32x32", channels first.
std::string to_text(const ImageShape& shape);

// The shape of images [B,C,H,W].
ImageShape shape_of(const at::Tensor& images);

}  // namespace mcci
