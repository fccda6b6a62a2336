#include "mcci/signal/pooling.hpp"

#include <algorithm>

#include <ATen/ops/adaptive_avg_pool2d.h>

namespace mcci {

at::Tensor pooled(const at::Tensor& images, std::int64_t most_side) {
  const std::int64_t height = std::min(most_side, images.size(2)),
                     width = std::min(most_side, images.size(3));
  // LibTorch would take as long over an image that stays as it is.
  if (height == images.size(2) && width == images.size(3)) return images;
  return at::adaptive_avg_pool2d(images, {height, width});
}

}  // namespace mcci
