#pragma once

#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "mcci/train/optimizer.hpp"

namespace mcci {

// A network that learns beside the one of a phase, in the same steps, by a loss and an optimizer of its own:
// the learning rate is constant.
class Companion {
 public:
  // `name` is the prefix of what is saved.
  Companion(std::string name, TensorList parameters, const OptimizerOptions& options);
  // One update. `loss`, a scalar, depends on no other parameters that are trained. Gradients that another
  // loss left are forgotten.
  void step(const at::Tensor& loss);
  // What a checkpoint must hold besides the parameters, and what to take back from one.
  TensorList state() const;
  void restore(const TensorList& saved) const;

 private:
  std::string name_;
  double lr_;
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace mcci
