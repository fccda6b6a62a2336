#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace mcci {

// Averaged to `most_side` pixels a side where there are more; the same tensor where there are not. [B,C,H,W]
// floating point -> [B,C,H',W'].
at::Tensor pooled(const at::Tensor& images, std::int64_t most_side);

}  // namespace mcci
