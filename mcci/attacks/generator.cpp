#include "mcci/attacks/generator.hpp"

#include <algorithm>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/nn/modules/normalization.h>

#include "mcci/core/error.hpp"
#include "mcci/data/loader.hpp"

namespace mcci {

namespace {

constexpr std::int64_t images_at_once = 16;
constexpr std::int64_t resolutions = 3;
constexpr std::int64_t finest_channels = 16;
constexpr std::int64_t channels_per_group = 8;

std::int64_t channels_at(std::int64_t level) { return finest_channels << level; }

torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1));
}

torch::nn::Sequential block(std::int64_t in, std::int64_t out) {
  return torch::nn::Sequential(convolution(in, out), torch::nn::GroupNorm(out / channels_per_group, out));
}

}  // namespace

UNet::UNet(std::int64_t in_channels, std::int64_t out_channels)
    : head_(register_module("head", convolution(finest_channels, out_channels))) {
  for (std::int64_t level = 0; level < resolutions; ++level) {
    const std::int64_t in = level == 0 ? in_channels : channels_at(level - 1);
    down_.emplace_back(register_module("down" + std::to_string(level), block(in, channels_at(level))));
  }
  for (std::int64_t level = 0; level + 1 < resolutions; ++level) {
    const std::int64_t in = channels_at(level) + channels_at(level + 1);
    up_.emplace_back(register_module("up" + std::to_string(level), block(in, channels_at(level))));
  }
}

at::Tensor UNet::forward(const at::Tensor& x) {
  std::vector<at::Tensor> skips;
  at::Tensor out = x;
  for (std::size_t level = 0; level < down_.size(); ++level) {
    if (level > 0) out = at::max_pool2d(out, 2, 2, 0, 1, /*ceil_mode=*/true);
    out = down_[level]->forward(out).relu_();
    skips.push_back(out);
  }
  for (std::size_t level = up_.size(); level-- > 0;) {
    const at::Tensor& skip = skips[level];
    out = at::upsample_nearest2d(out, {skip.size(2), skip.size(3)});
    out = up_[level]->forward(at::cat({skip, out}, 1)).relu_();
  }
  return head_(out);
}

TrainOptions generator_training(double lr, double momentum, std::uint64_t seed) {
  TrainOptions options;
  options.seed = static_cast<std::int64_t>(seed >> 1U);
  options.optimizer = {"adam", lr, momentum, /*weight_decay=*/0};
  options.schedule.schedule = "constant";
  options.augment = AugmentOptions::none();
  return options;
}

void check_prepared(const std::shared_ptr<torch::nn::Module>& network, const std::string& attack) {
  if (network == nullptr) throw Error(ErrorKind::internal, "prepare() was not called", attack);
}

at::Tensor apply_generator(const at::Tensor& images,
                           const std::function<at::Tensor(const at::Tensor& x)>& trigger) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> triggered;
  for (std::int64_t at = 0; at < images.size(0); at += images_at_once) {
    const std::int64_t count = std::min(images_at_once, images.size(0) - at);
    at::Tensor x = at::zeros({images_at_once, images.size(1), images.size(2), images.size(3)});
    x.narrow(0, 0, count).copy_(to_unit(images.narrow(0, at, count)));
    const at::Tensor levels = trigger(x).narrow(0, 0, count).mul(255).round_().clamp_(0, 255);
    triggered.push_back(levels.to(at::kByte).contiguous());
  }
  return at::cat(triggered);
}

}  // namespace mcci
