#include "mcci/baselines/companion.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "mcci/state/module_state.hpp"

namespace mcci {

Companion::Companion(std::string name, TensorList parameters, const OptimizerOptions& options)
    : name_(std::move(name)), lr_(options.lr), optimizer_(make_optimizer(options, std::move(parameters))) {}

void Companion::step(const at::Tensor& loss) {
  optimizer_->zero_grad();
  loss.backward();
  optimizer_->step(lr_);
  optimizer_->zero_grad();
}

TensorList Companion::state() const { return with_prefix_added(optimizer_->state(), name_); }

void Companion::restore(const TensorList& saved) const {
  const at::NoGradGuard no_grad;
  const TensorList given = with_prefix_removed(saved, name_);
  for (const auto& [name, tensor] : optimizer_->state()) {
    for (const auto& [given_name, value] : given) {
      if (given_name == name) at::Tensor(tensor).copy_(value);
    }
  }
}

}  // namespace mcci
