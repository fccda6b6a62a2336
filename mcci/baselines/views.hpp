#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace mcci {

// Random views of images [B,C,H,W] float32 in [0,1], made on their device. All draws come from LibTorch's
// global generator, which the trainer seeds for every step. Each value is drawn uniformly for each image.
struct ViewOptions {
  bool flip = false;        // mirror half of the images
  double shift = 0;         // up to so many pixels along each axis; black comes in
  double rotation = 0;      // up to so many degrees either way
  double least_area = 1;    // a part of the image, of [least_area, 1] of its area, is shown in full size
  double brightness = 0;    // factor in [1 - brightness, 1 + brightness]
  double contrast = 0;      // likewise, of the deviation from the image's mean
  double grey = 0;          // share of the images that lose their colour
  double noise = 0;         // standard deviation, not drawn
  std::int64_t cutout = 0;  // pixels a side of a black square around a random pixel, cut off at the border
};

// The result stays in [0,1].
at::Tensor random_view(const at::Tensor& images, const ViewOptions& options);

}  // namespace mcci
