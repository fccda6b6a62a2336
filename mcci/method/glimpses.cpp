#include "mcci/method/glimpses.hpp"

#include <algorithm>
#include <utility>

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/functional.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "mcci/runtime/compute.hpp"
#include "mcci/signal/pooling.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

constexpr std::int64_t most_side = 32;  // pixels
constexpr std::int64_t width = 8;       // channels of the first convolution

std::int64_t window_side(std::int64_t side) {
  return std::max<std::int64_t>(1, std::min(side, most_side) * 3 / 4);
}

// The strongest answer to each filter counts, wherever it is: what an image means is somewhere among clutter.
torch::nn::Sequential make_network(std::int64_t channels, std::int64_t num_classes) {
  torch::nn::Sequential layers;
  std::int64_t in = channels;
  for (const auto& [out, stride] :
       {std::pair{width, 1}, {2 * width, 2}, {2 * width, 1}, {4 * width, 2}, {4 * width, 1}}) {
    layers->push_back(
        torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).stride(stride).padding(1).bias(false)));
    layers->push_back(torch::nn::BatchNorm2d(out));
    layers->push_back(torch::nn::ReLU());
    in = out;
  }
  layers->push_back(torch::nn::Functional([](const torch::Tensor& x) { return x.amax({2, 3}); }));
  layers->push_back(torch::nn::Linear(in, num_classes));
  return layers;
}

std::int64_t drawn_below(std::int64_t count) { return torch::randint(count, {1}).item<std::int64_t>(); }

}  // namespace

GlimpsesImpl::GlimpsesImpl(const ImageShape& images, std::int64_t num_classes)
    : height_(window_side(images.height)),
      width_(window_side(images.width)),
      network_(register_module("network", make_network(images.channels, num_classes))) {}

torch::Tensor GlimpsesImpl::through_window(const torch::Tensor& images, std::int64_t top, std::int64_t left) {
  return network_->forward(channels_last(images.narrow(2, top, height_).narrow(3, left, width_)));
}

torch::Tensor GlimpsesImpl::forward(const torch::Tensor& images) {
  const torch::Tensor seen = pooled(images, most_side);
  const std::int64_t lowest = seen.size(2) - height_, rightmost = seen.size(3) - width_;
  return torch::stack({through_window(seen, 0, 0), through_window(seen, 0, rightmost),
                       through_window(seen, lowest, 0), through_window(seen, lowest, rightmost)});
}

torch::Tensor GlimpsesImpl::at_random(const torch::Tensor& images) {
  const torch::Tensor seen = pooled(images, most_side);
  const std::int64_t top = drawn_below(seen.size(2) - height_ + 1);
  return through_window(seen, top, drawn_below(seen.size(3) - width_ + 1));
}

torch::Tensor glimpse_opinions(Glimpses glimpses, const DatasetPtr& data, const Compute& compute) {
  glimpses->eval();
  const torch::Tensor of_samples = of_every_sample(data, compute, [&](const torch::Tensor& images) {
    const Autocast autocast(compute);
    return glimpses->forward(images).to(torch::kFloat).softmax(2).transpose(0, 1);
  });
  return of_samples.transpose(0, 1).contiguous();
}

}  // namespace mcci
