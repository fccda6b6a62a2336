#pragma once

#include <cstdint>
#include <vector>

#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "mcci/data/dataset.hpp"
#include "mcci/runtime/compute.hpp"

namespace mcci {

// Tiny classifiers that see the image through a keyhole each: a coarse, posterised window. What a picture
// means survives it; a trigger hardly does. Pooled to 16x16 pixels, a small perturbation averages out; cut to
// two levels at a threshold, a faint one is lost; and a window that shows half of the image does not show a
// patch in the other half. So for most triggers some keyhole is blind to them, and what it says of a
// triggered image is its meaning (docs/method.md, "Keyholes").
class KeyholesImpl : public torch::nn::Module {
 public:
  // The windows: the whole image and its four halves.
  static constexpr std::int64_t count = 5;

  KeyholesImpl(std::int64_t channels, std::int64_t num_classes);

  // images [B,C,H,W] float32 in [0,1]; thresholds [B,T]: where each image is cut, once for each of them, in
  // its own standard deviations above its own mean -> [count, B, T, classes] logits.
  torch::Tensor forward(const torch::Tensor& images, const torch::Tensor& thresholds);

 private:
  std::vector<torch::nn::Sequential> networks_;
};
TORCH_MODULE(Keyholes);

// The logits of a training step: thresholds drawn for each image from the global generator, and noise on what
// the keyholes see, so that they do not lean on single pixels.
torch::Tensor keyholes_in_training(Keyholes keyholes, const torch::Tensor& images);

// What each keyhole makes of every sample, averaged over a few thresholds: [count, N, classes] float32
// probabilities on the CPU. Evaluation mode, without gradients.
torch::Tensor keyhole_opinions(Keyholes keyholes, const DatasetPtr& data, const Compute& compute);

}  // namespace mcci
