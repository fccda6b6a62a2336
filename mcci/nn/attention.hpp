#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace mcci {

// Scores (products of a query and a key) that attention() holds at a time: 64 MiB of float32.
constexpr std::int64_t most_scores = std::int64_t{1} << 24;

// softmax(q k^T / sqrt(d)) v: q, k, v [B,h,N,d], of one floating-point dtype -> [B,h,N,d] of that dtype.
// LibTorch's fused kernel where it has one (from 2.0). Elsewhere the [B,h,N,N] scores are never whole in
// memory, neither on the way there nor back: at most `scores` of them (but always those of one query), for
// some heads, or some queries of one head, at a time, computed again for the gradient. Softmax is in float32.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     std::int64_t scores = most_scores);

}  // namespace mcci
