#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "mcci/data/dataset.hpp"

namespace mcci {

// The images at the positions [n] int64, at `most_side` pixels a side at most: [n,D] float32 in [0,1], on the
// CPU.
at::Tensor pixels_of(const DatasetPtr& data, const at::Tensor& positions, std::int64_t most_side);

// Of rows [n,D] that belong to groups [n] int64, the mean of each of so many groups: [groups,D], as the rows;
// 0 where a group has none.
at::Tensor means_of(const at::Tensor& rows, const at::Tensor& group, std::int64_t groups);

}  // namespace mcci
