#pragma once

#include <torch/nn/module.h>

#include "mcci/state/tensors.hpp"

namespace mcci {

// An exponential moving average of what is trained: the parameters, and the statistics of the modules that
// own them (batch norm's). In the first steps it keeps less, (1 + t) / (10 + t) of the average after t steps,
// since the first weights are worth little.
class WeightAverage {
 public:
  // `parameters` are some of the module's; the average starts at their present values.
  WeightAverage(const torch::nn::Module& module, const TensorList& parameters, double decay);

  void update();  // after every step
  void swap();    // exchanges the averages with the module's values; twice: nothing has happened
  // Named tensors that share storage with this object; copying into them restores it.
  const TensorList& state() const noexcept { return state_; }

 private:
  double decay_;
  TensorList values_;  // the module's own
  TensorList state_;   // their averages, in the same order, then the number of steps
};

}  // namespace mcci
