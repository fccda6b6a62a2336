#include "mcci/method/attack_indication_network.hpp"

#include <algorithm>
#include <string>

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/pooling.h>

#include "mcci/core/error.hpp"
#include "mcci/method/dropout.hpp"

namespace mcci {
namespace {

namespace nn = torch::nn;

void add_convolution(nn::Sequential& layers, std::int64_t in, std::int64_t out, std::int64_t kernel,
                     std::int64_t stride = 1) {
  layers->push_back(nn::Conv2d(
      nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel == 11 ? 2 : kernel / 2).bias(false)));
  layers->push_back(nn::ELU(nn::ELUOptions().inplace(true)));
  layers->push_back(nn::BatchNorm2d(out));
}

void add_pool(nn::Sequential& layers, std::int64_t kernel, double dropout) {
  layers->push_back(nn::MaxPool2d(nn::MaxPool2dOptions(kernel).stride(2)));
  layers->push_back(Dropout(dropout));
}

constexpr double dropout_rates[3] = {0.2, 0.3, 0.4};

nn::Sequential small_layout(std::int64_t channels, std::int64_t width) {
  nn::Sequential layers;
  std::int64_t in = channels;
  for (std::int64_t stage = 0; stage < 3; ++stage) {
    const std::int64_t out = width << stage;
    add_convolution(layers, in, out, 3);
    add_convolution(layers, out, out, 3);
    add_pool(layers, 2, dropout_rates[stage]);
    in = out;
  }
  return layers;
}

// The paper's 96-256-384-384-256-256, in proportion to the first.
nn::Sequential large_layout(std::int64_t channels, std::int64_t width) {
  const auto scaled = [&](std::int64_t paper) { return std::max<std::int64_t>(1, paper * width / 96); };
  nn::Sequential layers;
  add_convolution(layers, channels, scaled(96), 11, 4);
  add_convolution(layers, scaled(96), scaled(256), 5);
  add_pool(layers, 3, dropout_rates[0]);
  add_convolution(layers, scaled(256), scaled(384), 3);
  add_convolution(layers, scaled(384), scaled(384), 3);
  add_pool(layers, 3, dropout_rates[1]);
  add_convolution(layers, scaled(384), scaled(256), 3);
  add_convolution(layers, scaled(256), scaled(256), 3);
  add_pool(layers, 3, dropout_rates[2]);
  return layers;
}

}  // namespace

AttackIndicationNetworkImpl::AttackIndicationNetworkImpl(const AttackIndicationOptions& options) {
  const ImageShape& in = options.input;
  const bool large = std::max(in.height, in.width) > 64;
  const std::int64_t least = large ? 67 : 8;
  if (std::min(in.height, in.width) < least) {
    throw Error(
        ErrorKind::usage,
        "images of " + std::to_string(in.width) + "x" + std::to_string(in.height) +
            " pixels are too small for the attack indication network, whose layout at this size needs " +
            std::to_string(least),
        "--image-size", "choose a larger --image-size");
  }
  const auto spatial = [&](std::int64_t size) {
    if (!large) return size / 8;
    std::int64_t s = (size + 4 - 11) / 4 + 1;
    for (int pool = 0; pool < 3; ++pool) s = (s - 3) / 2 + 1;
    return s;
  };
  const std::int64_t width = options.width > 0 ? options.width : (large ? 96 : 32);
  const std::int64_t last = large ? std::max<std::int64_t>(1, 256 * width / 96) : 4 * width;
  features_ = register_module("features",
                              large ? large_layout(in.channels, width) : small_layout(in.channels, width));
  fc_ = register_module("fc", nn::Linear(last * spatial(in.height) * spatial(in.width), options.embedding));
}

torch::Tensor AttackIndicationNetworkImpl::forward(const torch::Tensor& indicator) {
  // flatten() in row-major order whatever the memory format, so that weights mean the same as in PyTorch.
  return fc_(features_->forward(indicator).contiguous().flatten(1));
}

}  // namespace mcci
