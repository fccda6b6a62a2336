#pragma once

#include <string>
#include <utility>
#include <vector>

#include <torch/types.h>

#include "mcci/state/tensors.hpp"

namespace mcci {

// What a method knows of each training sample, by the names of a checkpoint; undefined where it knows nothing
// yet.
using SampleState = std::vector<std::pair<std::string, torch::Tensor*>>;

// For Learner::extra_state(): those that are defined.
TensorList saved_state(const SampleState& state);
// For Learner::set_extra_state(): those that were saved, on `device`.
void restore_state(const SampleState& state, const TensorList& saved, torch::Device device);

}  // namespace mcci
