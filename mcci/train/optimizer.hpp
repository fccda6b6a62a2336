#pragma once

#include <memory>
#include <string>
#include <vector>

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

  // One update at learning rate `lr`, times the parameter's scale, of every parameter that has a gradient.
  virtual void step(double lr) = 0;
  void zero_grad();
  // Named tensors that share storage with the optimizer; copying into them restores it.
  const TensorList& state() const noexcept { return state_; }

 protected:
  // `slots` names the state kept for each parameter; `scales` as in make_optimizer.
  Optimizer(const OptimizerOptions& options, TensorList parameters, std::vector<double> scales,
            const std::vector<std::string>& slots);
  // What parameter p gets of a learning rate, and its weight decay.
  double rate(double lr, std::size_t p) const { return scales_.empty() ? lr : lr * scales_[p]; }
  double weight_decay(std::size_t p) const;
  // Adds to the state a tensor that belongs to no slot.
  void keep(const std::string& name, const at::Tensor& tensor) { state_.emplace_back(name, tensor); }
  // Slot s of parameter p.
  at::Tensor& slot(std::size_t p, std::size_t s) { return state_[p * slots_ + s].second; }

  TensorList parameters_;

 private:
  double weight_decay_;
  bool decay_vectors_;
  std::vector<double> scales_;
  TensorList state_;
  std::size_t slots_;
};

// sgd: momentum with Nesterov's correction, as torch.optim.SGD(nesterov=momentum > 0).
// adadelta: as torch.optim.Adadelta(rho=0.9, eps=1e-6), Zeiler 2012.
// adam: as torch.optim.Adam(betas=(momentum, 0.999), eps=1e-8), Kingma and Ba 2015.
// adamw: as torch.optim.AdamW with the same, Loshchilov and Hutter 2019: weight decay apart from the
// gradient. `scales` are factors on the learning rate, one for each parameter; empty: all 1. Without
// options.decay_vectors, parameters of fewer than two dimensions have no weight decay.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, TensorList parameters,
                                          std::vector<double> scales = {});

// Scales the gradients of all parameters, so that their common Euclidean norm is at most `largest`: as
// torch.nn.utils.clip_grad_norm_.
void clip_gradients(const TensorList& parameters, double largest);

}  // namespace mcci
