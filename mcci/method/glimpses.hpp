#pragma once

#include <cstdint>

#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "mcci/data/dataset.hpp"
#include "mcci/runtime/compute.hpp"

namespace mcci {

// A small convolutional network that sees images in full colour and detail, but learns from glimpses alone:
// windows of three quarters of the height and width, at a place drawn anew for every step. It knows what the
// coarse keyholes cannot: figures among clutter. A patch near an edge lies in few of the glimpses, nowhere in
// particular, and a warp ends where they do; so what it sees elsewhere is the meaning. A pattern over the
// whole image it sees (docs/method.md, "Glimpses").
class GlimpsesImpl : public torch::nn::Module {
 public:
  // What it is asked about: the windows at the four corners.
  static constexpr std::int64_t count = 4;

  GlimpsesImpl(const ImageShape& images, std::int64_t num_classes);

  // images [B,C,H,W] float32 in [0,1] -> [count, B, classes] logits.
  torch::Tensor forward(const torch::Tensor& images);
  // The logits of a training step, [B, classes]: one window, drawn from the global generator.
  torch::Tensor at_random(const torch::Tensor& images);

 private:
  torch::Tensor through_window(const torch::Tensor& images, std::int64_t top, std::int64_t left);

  std::int64_t height_, width_;  // of the window
  torch::nn::Sequential network_;
};
TORCH_MODULE(Glimpses);

// What each window shows of every sample: [count, N, classes] float32 probabilities on the CPU. Evaluation
// mode, without gradients.
torch::Tensor glimpse_opinions(Glimpses glimpses, const DatasetPtr& data, const Compute& compute);

}  // namespace mcci
