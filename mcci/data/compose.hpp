#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "mcci/data/dataset.hpp"

namespace mcci {

// Data sets made of others, whose images they ask for when they are asked.

// The samples of `data` at `indices` ([M] int64, which may repeat), in that order.
// Errors: internal if an index is none of its.
DatasetPtr subset(DatasetPtr data, const at::Tensor& indices);

// The samples of `first`, then those of `second`. Errors: usage if their shapes or classes differ.
DatasetPtr concatenate(DatasetPtr first, DatasetPtr second);

// Samples of each class, drawn by the seed: a share (0, 1] of it, at least one; or `count` of them, or as
// many as it has. [M] int64 positions, ascending.
at::Tensor share_of_each_class(const Dataset& data, double share, std::uint64_t seed);
at::Tensor some_of_each_class(const Dataset& data, std::int64_t count, std::uint64_t seed);

}  // namespace mcci
