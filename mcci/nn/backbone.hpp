#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "mcci/core/registry.hpp"

namespace mcci {

// A network from images to a vector: what the user wants to train, the SFRN of the paper.
// Child names equal torchvision's, so that weights load and export without a translation table.
class Backbone : public torch::nn::Module {
 public:
  // x [B,C,H,W] float32, already normalised -> [B, outputs].
  virtual torch::Tensor forward(const torch::Tensor& x) = 0;
  // What the last linear layer reads: [B, D].
  virtual torch::Tensor features(const torch::Tensor& x) = 0;
  // The name of the last linear layer below this module ("fc"): folding replaces it by a C-way head.
  virtual std::string head_name() const = 0;
  // How far from the image a parameter or buffer of this name works: 0 in the stem, then 1 more for every
  // block; the head is the deepest. Fine-tuning freezes and slows down from below by it. Unless an
  // architecture says more, all but the head is 0.
  virtual std::int64_t depth_of(const std::string& name) const;
};

struct BackboneConfig {
  std::string name = "resnet18";
  std::int64_t in_channels = 3;  // 1 .. 1024
  std::int64_t image_size =
      32;                      // chooses the stem: below 65 pixels a 3x3 stride-1 convolution without pooling
  std::int64_t outputs = 100;  // size of the last linear layer, 1 .. 1,000,000
  std::int64_t width = 0;  // channels of the first stage, up to 1024; 0: the architecture's own (ResNet: 64)
};

struct BackboneEntry {
  std::function<std::shared_ptr<Backbone>(const BackboneConfig&)> make;  // its width is never 0
  std::int64_t default_width = 64;
};

// resnet8, resnet18, resnet34, resnet50, ...
const Registry<BackboneEntry>& backbones();

// Freshly initialised from the global generator (torch::manual_seed), in training mode, on the CPU.
// Errors: usage for an unknown name or a size the architecture cannot take.
std::shared_ptr<Backbone> make_backbone(const BackboneConfig& config);

}  // namespace mcci
