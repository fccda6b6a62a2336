#pragma once

#include <ATen/autocast_mode.h>

namespace mcci {

// Autocast remembers the weights that it has converted. What is converted within this scope, on the way back
// or on a thread of its own, does not outlive it, and so not the optimizer's step.
class ForgetConverted {
 public:
  ForgetConverted() { at::autocast::increment_nesting(); }
  ~ForgetConverted() {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  }
  ForgetConverted(const ForgetConverted&) = delete;
  ForgetConverted& operator=(const ForgetConverted&) = delete;
};

}  // namespace mcci
