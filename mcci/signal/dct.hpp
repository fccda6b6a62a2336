#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace mcci {

// The orthonormal DCT-II matrix D of size n x n: D[k][i] = s_k cos(pi (2i + 1) k / (2n)), s_0 = sqrt(1/n),
// s_k = sqrt(2/n). Its inverse is its transpose. Computed in double, returned as [n,n] float32 on `device`.
// Errors: internal for n < 1.
at::Tensor dct_matrix(std::int64_t n, at::Device device = at::kCPU);

// Two-dimensional orthonormal DCT-II of every H x W plane: x [...,H,W] float32 -> the same shape, contiguous
// and unscaled (the DC of a constant plane c is c sqrt(HW): up to 8160 for 255 at 32x32). By fast_dct2 where
// it can; as two matrix products on other devices, for sides with a large odd part, and where a gradient is
// asked for: differentiable; float32 also inside an autocast region, which would keep 8 bits of the
// spectrum. Errors: internal for another dtype, fewer than two dimensions or an empty plane.
at::Tensor dct2(const at::Tensor& x);

// Its inverse (DCT-III).
at::Tensor idct2(const at::Tensor& x);

}  // namespace mcci
