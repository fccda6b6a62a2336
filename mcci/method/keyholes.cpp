#include "mcci/method/keyholes.hpp"

#include <array>
#include <functional>
#include <string>

#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/functional.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>

#include "mcci/nn/side_by_side.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

constexpr std::int64_t fine = 16;   // pixels a side at which the image is cut to two levels
constexpr std::int64_t coarse = 8;  // and of what the networks see
constexpr std::int64_t width = 16;  // channels of their first convolution
constexpr double noise = 0.3;       // the largest standard deviation of the noise in training

struct Window {
  std::int64_t top, left, height, width;
};
constexpr std::array<Window, KeyholesImpl::count> windows = {{{0, 0, coarse, coarse},
                                                              {0, 0, coarse / 2, coarse},
                                                              {coarse / 2, 0, coarse / 2, coarse},
                                                              {0, 0, coarse, coarse / 2},
                                                              {0, coarse / 2, coarse, coarse / 2}}};

torch::nn::Sequential make_network(const Window& window, std::int64_t channels, std::int64_t num_classes) {
  const auto conv = [](std::int64_t in, std::int64_t out) {
    return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1).bias(false));
  };
  const torch::nn::ReLU relu(torch::nn::ReLUOptions().inplace(true));
  return torch::nn::Sequential(
      conv(channels, width), torch::nn::BatchNorm2d(width), relu, conv(width, 2 * width),
      torch::nn::BatchNorm2d(2 * width), torch::nn::MaxPool2d(2), relu, conv(2 * width, 2 * width),
      torch::nn::BatchNorm2d(2 * width), relu,
      // In the order in which they lie in memory, so that their gradients are laid out as they are.
      torch::nn::Functional([](const torch::Tensor& x) {
        return x.permute({0, 2, 3, 1}).flatten(1);
      }),
      torch::nn::Linear(2 * width * (window.height / 2) * (window.width / 2), num_classes));
}

}  // namespace

KeyholesImpl::KeyholesImpl(std::int64_t channels, std::int64_t num_classes) {
  for (std::size_t i = 0; i < windows.size(); ++i) {
    networks_.emplace_back(
        register_module("window" + std::to_string(i), make_network(windows[i], channels, num_classes)));
  }
}

torch::Tensor KeyholesImpl::forward(const torch::Tensor& images, const torch::Tensor& thresholds) {
  const std::int64_t batch = images.size(0), channels = images.size(1), cuts = thresholds.size(1);
  // Planes of one channel each: as a batch in channels_last they take several times as long to average.
  const torch::Tensor pooled =
      torch::adaptive_avg_pool2d(images.flatten(0, 1), {fine, fine}).view({batch, 1, -1});
  const torch::Tensor cut =
      pooled.mean(2, true).add(pooled.std(2, true, true) * thresholds.unsqueeze(2));  // [batch, cuts, 1]
  const torch::Tensor above = pooled.gt(cut).to(torch::kFloat).view({batch * cuts * channels, fine, fine});
  torch::Tensor seen = torch::avg_pool2d(above, fine / coarse).view({batch * cuts, channels, coarse, coarse});
  if (is_training())
    seen = seen + torch::rand_like(thresholds).mul(noise).view({-1, 1, 1, 1}) * torch::randn_like(seen);
  std::vector<std::function<torch::Tensor()>> through;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    through.emplace_back([this, i, &seen] {
      const Window& window = windows[i];
      return networks_[i]->forward(
          channels_last(seen.narrow(2, window.top, window.height).narrow(3, window.left, window.width)));
    });
  }
  return torch::stack(side_by_side(images.device(), through)).unflatten(1, {batch, cuts});
}

torch::Tensor keyholes_in_training(Keyholes keyholes, const torch::Tensor& images) {
  return keyholes->forward(images, torch::rand({images.size(0), 1}, images.options())).squeeze(2);
}

torch::Tensor keyhole_opinions(Keyholes keyholes, const DatasetPtr& data, const Compute& compute) {
  keyholes->eval();
  const torch::Tensor of_samples = of_every_sample(data, compute, [&](const torch::Tensor& images) {
    const torch::Tensor thresholds = torch::tensor({0.25, 0.5, 0.75}, images.options());
    return keyholes->forward(images, thresholds.expand({images.size(0), -1}))
        .softmax(3)
        .mean(2)
        .transpose(0, 1);
  });
  return of_samples.transpose(0, 1).contiguous();
}

}  // namespace mcci
