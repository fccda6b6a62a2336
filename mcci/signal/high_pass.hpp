#pragma once

#include <ATen/core/Tensor.h>

namespace mcci {

// x minus its 3x3 box blur (reflected border): the high band of the spectrum, what a small trigger or a sharp
// edge is made of and smooth content is not. [B,C,H,W] floating point, H and W at least 2 -> the same shape.
at::Tensor high_pass(const at::Tensor& images);

}  // namespace mcci
