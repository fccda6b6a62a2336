#include "mcci/train/weight_average.hpp"

#include <algorithm>
#include <unordered_set>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace mcci {
namespace {

using Identities = std::unordered_set<const c10::TensorImpl*>;

// The tensors of every module that owns one of the parameters: those parameters, and its buffers.
void collect(const torch::nn::Module& module, const Identities& parameters, const std::string& prefix,
             TensorList& values) {
  bool owns = false;
  for (const auto& parameter : module.named_parameters(/*recurse=*/false)) {
    if (parameters.count(parameter.value().unsafeGetTensorImpl()) == 0) continue;
    values.emplace_back(prefix + parameter.key(), parameter.value());
    owns = true;
  }
  if (owns) {
    for (const auto& buffer : module.named_buffers(/*recurse=*/false))
      values.emplace_back(prefix + buffer.key(), buffer.value());
  }
  for (const auto& child : module.named_children())
    collect(*child.value(), parameters, prefix + child.key() + ".", values);
}

}  // namespace

WeightAverage::WeightAverage(const torch::nn::Module& module, const TensorList& parameters, double decay)
    : decay_(decay) {
  Identities identities;
  for (const auto& [name, parameter] : parameters) identities.insert(parameter.unsafeGetTensorImpl());
  collect(module, identities, "", values_);
  for (const auto& [name, value] : values_) state_.emplace_back(name, value.detach().clone());
  state_.emplace_back("steps", at::zeros({}, at::kLong));
}

void WeightAverage::update() {
  const at::NoGradGuard no_grad;
  auto* const steps = state_.back().second.data_ptr<std::int64_t>();
  const auto t = static_cast<double>(++*steps);
  const double kept = std::min(decay_, (1 + t) / (10 + t));
  for (std::size_t i = 0; i < values_.size(); ++i) {
    at::Tensor& average = state_[i].second;
    if (average.is_floating_point()) {
      average.lerp_(values_[i].second, 1 - kept);
    } else {
      average.copy_(values_[i].second);
    }
  }
}

void WeightAverage::swap() {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    const at::Tensor value = values_[i].second.clone();
    values_[i].second.copy_(state_[i].second);
    state_[i].second.copy_(value);
  }
}

}  // namespace mcci
