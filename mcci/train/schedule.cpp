#include "mcci/train/schedule.hpp"

#include <cmath>

namespace mcci {

double learning_rate(const ScheduleOptions& options, double base_lr, const Progression& at) {
  if (options.schedule == "steps") {
    double lr = base_lr;
    for (const std::int64_t milestone : options.milestone_epochs()) {
      if (at.epoch >= milestone) lr *= options.decay;
    }
    return lr;
  }
  if (options.schedule == "one-cycle") {
    // (step + 1) / (total + 1): neither the first nor the last step has a rate of zero.
    const double progress = static_cast<double>(at.step + 1) / static_cast<double>(at.total_steps + 1);
    if (progress < options.warmup) return base_lr * progress / options.warmup;
    if (options.warmup >= 1) return base_lr;
    const double fallen = (progress - options.warmup) / (1 - options.warmup);
    const double height = 0.5 * (1 + std::cos(M_PI * fallen));
    return base_lr * (options.lr_floor + (1 - options.lr_floor) * height);
  }
  return base_lr;
}

}  // namespace mcci
