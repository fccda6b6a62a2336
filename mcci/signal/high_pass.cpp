#include "mcci/signal/high_pass.hpp"

#include <ATen/ATen.h>

namespace mcci {

at::Tensor high_pass(const at::Tensor& images) {
  return images - at::avg_pool2d(at::reflection_pad2d(images, {1, 1, 1, 1}), 3, 1);
}

}  // namespace mcci
