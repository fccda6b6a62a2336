#pragma once

#include <cstdint>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Makes `count` of the clean samples of `plan`, drawn by `seed` over all classes, covers: Attack::apply_cover
// triggers them, their labels stay. The draw is independent of the one that chose the poisoned samples.
// Errors: usage if fewer samples are clean, saying how many there are; `attack_name` is who asks.
void add_covers(PoisonPlan& plan, std::int64_t count, std::uint64_t seed, const char* attack_name);

}  // namespace mcci
