#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "mcci/core/options.hpp"
#include "mcci/data/dataset.hpp"

namespace mcci {

// Where a trigger of the chroma channels is added. Both are ITU-R BT.601, scaled differently.
enum class ColorSpace {
  ycbcr,  // OpenCV: R = Y + 1.403 Cr, G = Y - 0.714 Cr - 0.344 Cb, B = Y + 1.773 Cb
  yuv,    // kornia: R = Y + 1.14 V, G = Y - 0.396 U - 0.581 V, B = Y + 2.029 U
};

// What FTrojan and CTRL share: `magnitude` is added to two coefficients of the DCT of either chroma channel,
// at (row, column) = (f, f), of a grey image to its only channel. DCT and colour transform are linear, so
// this is one additive pattern, the same for all images of a shape.
struct SpectralTrigger {
  ColorSpace space = ColorSpace::ycbcr;
  // Of the orthonormal DCT (cv2.dct, norm='ortho') of values in 0 .. 255: in a window of h x w the cosine it
  // adds has an amplitude of at most 2 magnitude / sqrt(h w) grey levels.
  double magnitude = 0;
  std::int64_t mid_frequency = 15;
  std::int64_t high_frequency = 31;

  void declare(OptionSet& set);

  // What is added to images of `shape`: [C,H,W] float32, in grey levels. The image is tiled from its top left
  // corner with windows of window_height x window_width, neither above the image's; rows and columns that
  // fill no window are left alone. A frequency that a window does not have is its highest one.
  at::Tensor pattern(const ImageShape& shape, std::int64_t window_height, std::int64_t window_width) const;

  // images [B,C,H,W] uint8 with the pattern added in float32, rounded to the nearest whole number (halves to
  // even) and clipped to 0 .. 255.
  at::Tensor add_to(const at::Tensor& images, std::int64_t window_height, std::int64_t window_width) const;
};

}  // namespace mcci
