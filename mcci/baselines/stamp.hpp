#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace mcci {

// Images [B,C,H,W] with a square of `size` pixels (or as many as there are) in the top-left corner set to
// `colour`
// ([C]). The input is not changed.
at::Tensor stamped(const at::Tensor& images, std::int64_t size, const at::Tensor& colour);

}  // namespace mcci
