#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/state/tensors.hpp"
#include "mcci/train/options.hpp"

namespace mcci {

// LibTorch's own optimizers keep their state under memory addresses, save it through a pickle that is not
// safe to read back, and have no Adadelta. These name their state, so that a run resumes bit for bit from a
// safetensors file.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // One update at learning rate `lr` of every parameter that has a gradient.
  virtual void step(double lr) = 0;
  void zero_grad();
  // Named tensors that share storage with the optimizer; copying into them restores it.
  const TensorList& state() const noexcept { return state_; }

 protected:
  // `slots` names the state kept for each parameter.
  Optimizer(TensorList parameters, const std::vector<std::string>& slots);
  // Adds to the state a tensor that belongs to no slot.
  void keep(const std::string& name, const at::Tensor& tensor) { state_.emplace_back(name, tensor); }
  // Slot s of parameter p.
  at::Tensor& slot(std::size_t p, std::size_t s) { return state_[p * slots_ + s].second; }

  TensorList parameters_;

 private:
  TensorList state_;
  std::size_t slots_;
};

// sgd: momentum with Nesterov's correction, as torch.optim.SGD(nesterov=momentum > 0).
// adadelta: as torch.optim.Adadelta(rho=0.9, eps=1e-6), Zeiler 2012.
// adam: as torch.optim.Adam(betas=(momentum, 0.999), eps=1e-8), Kingma and Ba 2015.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, TensorList parameters);

}  // namespace mcci
