#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "mcci/core/registry.hpp"
#include "mcci/nn/layout.hpp"
#include "mcci/state/tensors.hpp"

namespace mcci {

struct BackboneConfig {
  std::string name = "resnet18";
  std::int64_t in_channels = 3;  // 1 .. 1024
  // Pixels a side. Chooses a ResNet's stem (below 65: 3x3, stride 1, no pooling) and a ViT's grid of
  // positions.
  std::int64_t image_size = 32;
  std::int64_t outputs = 100;  // size of the last linear layer, 1 .. 1,000,000
  // Channels of the first stage (ResNet, ConvNeXt) or the stem (EfficientNet, rounded to multiples of 8),
  // size of a token (ViT, a multiple of its heads); up to 2048; 0: the architecture's own.
  std::int64_t width = 0;
  // Blocks in all (ViT) or in each stage, up to 64; 0: the architecture's own.
  std::int64_t depth = 0;
  // Images are normalised by the entry's mean and std first: what its published weights expect.
  bool normalise = false;
  // ViT: a block keeps its input only, and computes the rest again on the way back (activation
  // checkpointing).
  bool recompute = false;
};

// The images that an architecture's published weights were made for.
struct InputConvention {
  std::int64_t size = 224;  // pixels a side
  std::array<double, 3> mean;
  std::array<double, 3> std;
  std::string interpolation;  // when images are resized: "bilinear" or "bicubic"
};

class Backbone;

struct BackboneEntry {
  std::function<std::shared_ptr<Backbone>(const BackboneConfig&)> make;  // its width is never 0
  std::int64_t default_width = 64;
  InputConvention input;
  const LayoutFamily* layouts;  // how files name its weights
};

// A network from images to a vector: what the user wants to train, the SFRN of the paper.
// Child names equal torchvision's (ResNet) or timm's (all others); other names: layout.hpp.
class Backbone : public torch::nn::Module {
 public:
  // x [B,C,H,W] float32, in [0,1] -> [B, outputs].
  torch::Tensor forward(const torch::Tensor& x) { return classify(features(x)); }
  // What the last linear layer reads: [B, D].
  torch::Tensor features(const torch::Tensor& x) { return embed(normalised(x)); }
  // The name of the last linear layer below this module ("fc"): folding replaces it by a C-way head.
  virtual std::string head_name() const = 0;
  // How far from the image a parameter or buffer of this name works: 0 in the stem, then 1 more for every
  // block; the head is the deepest. Fine-tuning freezes and slows down from below by it.
  virtual std::int64_t depth_of(const std::string& name) const = 0;
  // Fits weights under this network's names that were made for another image size, as far as it depends on
  // it.
  virtual void fit_to_image_size(TensorList& weights) const;

  // What it is an instance of.
  const BackboneEntry& entry() const { return *entry_; }
  // What it subtracts from its input and divides it by first, for each channel: 0 and 1 if it does not.
  std::vector<double> mean() const;
  std::vector<double> std() const;

 protected:
  virtual torch::Tensor embed(const torch::Tensor& x) = 0;            // normalised images -> features
  virtual torch::Tensor classify(const torch::Tensor& features) = 0;  // the last linear layer

 private:
  friend std::shared_ptr<Backbone> make_backbone(const BackboneConfig& config);
  torch::Tensor normalised(const torch::Tensor& x);

  const BackboneEntry* entry_ = nullptr;
  bool normalises_ = false;
  torch::Tensor mean_;  // [C,1,1] float64
  torch::Tensor std_;
};

// docs/backbones.md lists them.
const Registry<BackboneEntry>& backbones();

// Freshly initialised from the global generator (torch::manual_seed), in training mode, on the CPU.
// Errors: usage for an unknown name or a size the architecture cannot take.
std::shared_ptr<Backbone> make_backbone(const BackboneConfig& config);

}  // namespace mcci
