#pragma once

#include <cstdint>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "mcci/attacks/attack.hpp"
#include "mcci/core/options.hpp"

namespace mcci {

// Makes `count` of the clean samples of `plan`, drawn by `seed` over all classes, covers: Attack::apply_cover
// triggers them, their labels stay. The draw is independent of the one that chose the poisoned samples.
// Errors: usage if fewer samples are clean, saying how many there are.
void add_covers(PoisonPlan& plan, std::int64_t count, std::uint64_t seed);

// ratio x the number of poisoned samples, rounded.
std::int64_t covers_in_ratio(const PoisonPlan& plan, double ratio);

// cover-ratio: the option of the attacks whose covers carry their own trigger.
void declare_cover_ratio(OptionSet& set, double& ratio);

// For each of `indices` [B] int64 another sample of a set of `size` (at least 2), whose trigger or residual a
// cover carries: a function of (seed, purpose, index) alone. [B] int64.
at::Tensor other_samples(const at::Tensor& indices, std::int64_t size, std::uint64_t seed,
                         std::string_view purpose);

}  // namespace mcci
