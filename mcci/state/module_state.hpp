#pragma once

#include <string>

#include <torch/nn/module.h>

#include "mcci/state/tensors.hpp"

namespace mcci {

// Parameters and buffers by their dotted names, in the order in which PyTorch's state_dict() lists them.
// The tensors share storage with the module.
TensorList module_state(const torch::nn::Module& module);

// Copies `tensors` into the module's own parameters and buffers, which keep their device, dtype and memory
// format. Every name must be there once, with the same shape; floating-point dtypes convert into each other,
// any other must be the module's. Errors: data, listing missing, unexpected, repeated and unfitting names;
// then nothing has been changed.
void load_module_state(torch::nn::Module& module, const TensorList& tensors, const std::string& where);

// The tensors whose names start with "<prefix>.", without that prefix; and the reverse.
TensorList with_prefix_removed(const TensorList& tensors, const std::string& prefix);
TensorList with_prefix_added(const TensorList& tensors, const std::string& prefix);

}  // namespace mcci
