#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>

#include "mcci/train/options.hpp"

// The network that makes a trigger from an image, how it is trained and how it is applied.
namespace mcci {

// An encoder and a decoder with skip connections (U-Net; Ronneberger et al., 2015): three resolutions of 16,
// 32 and 64 channels, each a 3x3 convolution, group norm and ReLU. Group norm, unlike batch norm, knows no
// other image: the trigger of an image is a function of it alone, in training as afterwards.
class UNet : public torch::nn::Module {
 public:
  // Freshly initialised from the global generator.
  UNet(std::int64_t in_channels, std::int64_t out_channels);
  // x [B,in_channels,H,W] float32, any size -> [B,out_channels,H,W], of any range.
  at::Tensor forward(const at::Tensor& x);

 private:
  std::vector<torch::nn::Sequential> down_;  // finest first
  std::vector<torch::nn::Sequential> up_;
  torch::nn::Conv2d head_;
};

// How generators are trained: Adam at a constant learning rate, `momentum` being its beta 1, on images as
// they are. The learner's phases say how many epochs.
TrainOptions generator_training(double lr, double momentum, std::uint64_t seed);

// Errors: internal if prepare() has made no `network` for `attack` yet.
void check_prepared(const std::shared_ptr<torch::nn::Module>& network, const std::string& attack);

// trigger(x) of images [B,C,H,W] uint8, as x [16,C,H,W] float32 in [0,1]; its result [16,C',H,W], likewise in
// [0,1], is clipped and rounded to whole grey levels: [B,C',H,W] uint8. Without gradients. Batches are filled
// up with black, as the last bit of a convolution, and with it a grey level, may depend on the batch's size.
at::Tensor apply_generator(const at::Tensor& images,
                           const std::function<at::Tensor(const at::Tensor& x)>& trigger);

}  // namespace mcci
