#include "mcci/train/sample_state.hpp"

namespace mcci {

TensorList saved_state(const SampleState& state) {
  TensorList saved;
  for (const auto& [name, tensor] : state) {
    if (tensor->defined()) saved.emplace_back(name, *tensor);
  }
  return saved;
}

void restore_state(const SampleState& state, const TensorList& saved, torch::Device device) {
  for (const auto& [name, target] : state) {
    for (const auto& [saved_name, tensor] : saved) {
      if (saved_name == name) *target = tensor.to(device);
    }
  }
}

}  // namespace mcci
