#include "mcci/baselines/stamp.hpp"

#include <algorithm>

#include <ATen/ATen.h>

namespace mcci {

at::Tensor stamped(const at::Tensor& images, std::int64_t size, const at::Tensor& colour) {
  at::Tensor result = images.clone();
  result.narrow(2, 0, std::min(size, images.size(2)))
      .narrow(3, 0, std::min(size, images.size(3)))
      .copy_(colour.view({1, -1, 1, 1}));
  return result;
}

}  // namespace mcci
