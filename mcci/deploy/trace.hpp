#pragma once

#include <string>

#include <torch/csrc/jit/api/module.h>

#include "mcci/deploy/network.hpp"

namespace mcci {

// The network as TorchScript, for any batch: its method `forward` takes `images`. Parameters and buffers keep
// their names and share storage with the network's. Errors: usage, naming `where`.
torch::jit::Module trace(const Network& network, const std::string& where);

}  // namespace mcci
