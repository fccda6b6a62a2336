#pragma once

#include <cstdint>

#include "mcci/train/options.hpp"

namespace mcci {

// Where a phase stands, counted from zero.
struct Progression {
  std::int64_t epoch = 0;
  std::int64_t step = 0;         // since the start of the phase
  std::int64_t total_steps = 1;  // of the phase
};

// The learning rate of one step: base_lr as it is, times decay for every milestone passed, or a
// one-cycle: a linear warm-up, then half a cosine down to lr_floor.
double learning_rate(const ScheduleOptions& options, double base_lr, const Progression& at);

}  // namespace mcci
