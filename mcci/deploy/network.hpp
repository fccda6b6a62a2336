#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace torch::nn {
class Module;
}

namespace mcci {

// A trained network that is to run without mcci.
struct Network {
  torch::nn::Module& module;                             // in evaluation mode, on the CPU
  std::function<at::Tensor(const at::Tensor&)> forward;  // [B,C,H,W] float32 -> [B, outputs]; a pure function
  std::vector<std::int64_t> image;                       // [C,H,W] of what it takes
};

// Both files take any batch of images of that size, as `images`, and give `logits`. Before anything is
// written, the program is compared with the network on batches of other sizes. `notes` go along by name: what
// a user of the file must know. Written atomically. Errors: io; usage if the network is not a fixed sequence
// of operators, whatever the images are.

// TorchScript: torch.jit.load of Python and of C++. Parameters and buffers keep their names. `notes` are
// extra files: torch.jit.load(FILE, _extra_files={"NAME": ""}).
void save_torchscript(const std::filesystem::path& path, const Network& network,
                      const std::map<std::string, std::string>& notes);

// ONNX, opset 13: convolutional networks and transformers; batch norms are folded into convolutions. `notes`
// are metadata_props. Errors, besides: usage, naming an operator that is not translated, or if it is above 2
// GB.
void save_onnx(const std::filesystem::path& path, const Network& network,
               const std::map<std::string, std::string>& notes);

}  // namespace mcci
