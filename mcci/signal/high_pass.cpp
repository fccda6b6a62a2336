#include "mcci/signal/high_pass.hpp"

#include <ATen/ATen.h>

namespace mcci {

namespace {

// The sums of three neighbours along a dimension, which becomes shorter by two. Averaging windows of 3x3 by
// LibTorch's pooling takes ten times as long.
at::Tensor sums_of_three(const at::Tensor& x, std::int64_t dim) {
  const std::int64_t size = x.size(dim) - 2;
  return x.narrow(dim, 0, size).add(x.narrow(dim, 1, size)).add_(x.narrow(dim, 2, size));
}

}  // namespace

at::Tensor high_pass(const at::Tensor& images) {
  const at::Tensor around = at::reflection_pad2d(images, {1, 1, 1, 1});
  return images - sums_of_three(sums_of_three(around, 2), 3).div_(9);
}

}  // namespace mcci
