#include "mcci/baselines/frequency.hpp"

#include <algorithm>
#include <cmath>

#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>
#include <torch/types.h>

#include "mcci/baselines/filter.hpp"
#include "mcci/core/error.hpp"
#include "mcci/signal/dct.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

// Of images [B,C,H,W] in [0,1]: the spectrum of their grey levels, [B,C,H,W] float32.
at::Tensor spectrum(const at::Tensor& images) { return dct2(images.mul(255).floor()); }

// Six 3x3 convolutions in three stages of width, 2 width and 4 width channels, and one answer: the log odds
// of a trigger.
class SpectrumNetwork : public torch::nn::Module {
 public:
  SpectrumNetwork(const ImageShape& shape, std::int64_t width) {
    if (std::min(shape.height, shape.width) < 8) {
      throw Error(ErrorKind::usage, "images below 8x8 pixels are too small for the frequency detector");
    }
    layers_ = register_module("layers", torch::nn::Sequential());
    std::int64_t in = shape.channels;
    for (const double dropout : {0.2, 0.3, 0.4}) {
      for (int i = 0; i < 2; ++i) {
        layers_->push_back(torch::nn::Conv2d(torch::nn::Conv2dOptions(in, width, 3).padding(1).bias(false)));
        layers_->push_back(torch::nn::ELU());
        layers_->push_back(torch::nn::BatchNorm2d(width));
        in = width;
      }
      layers_->push_back(torch::nn::MaxPool2d(2));
      layers_->push_back(torch::nn::Dropout(dropout));
      width *= 2;
    }
    fc_ = register_module("fc", torch::nn::Linear(in * (shape.height / 8) * (shape.width / 8), 1));
  }

  at::Tensor forward(const at::Tensor& spectra) {
    return fc_(layers_->forward(spectra).contiguous().flatten(1)).squeeze(1);
  }

 private:
  torch::nn::Sequential layers_{nullptr};
  torch::nn::Linear fc_{nullptr};
};

class Frequency : public FilterDefense {
 public:
  void declare(OptionSet& set) override {
    clean_.declare(set);
    set.add("detector-epochs", detector_epochs_, "epochs of the detector on the clean images", {1, 100000});
    set.add("detector-lr", detector_lr_, "their learning rate, by adadelta", {1e-8, 100.0});
    set.add("detector-width", detector_width_, "channels of its first convolution", {1, 1024});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table =
        presets_with(Json::object(), "the authors' detector",
                     {{"detector-epochs", 10}, {"detector-lr", 0.05}, {"detector-width", 32}},
                     "the short recipe and a narrower detector",
                     {{"detector-epochs", 30}, {"detector-lr", 0.5}, {"detector-width", 8}});
    return table;
  }

  std::string assumes() const override { return "clean images"; }
  const CleanDataOptions* clean_data() const override { return &clean_; }

  void build(const Problem& problem) override {
    FilterDefense::build(problem);
    network_ = add("detector", std::make_shared<SpectrumNetwork>(problem.shape, detector_width_));
  }

  DatasetPtr source(std::size_t phase, const DatasetPtr& data) override {
    return phase == detector_phase ? clean_images() : data;
  }

 protected:
  Phase detector(const TrainOptions& options) override {
    Phase phase = make_constant_phase("detector", parameter_list(*network_), options, detector_epochs_,
                                      "adadelta", detector_lr_);
    phase.optimizer.weight_decay = 1e-4;
    phase.augment = AugmentOptions::none();
    phase.classifies = false;
    return phase;
  }

  StepOutput detector_loss(const Batch& batch) override {
    // The trainer seeds the global generator for every step.
    Rng rng(static_cast<std::uint64_t>(
        torch::randint(std::int64_t{1} << 62, {1}, torch::kLong).item<std::int64_t>()));
    const at::Tensor triggered = with_synthetic_triggers(batch.images.cpu(), rng).to(batch.images.device());
    const at::Tensor odds = log_odds(torch::cat({batch.images, triggered}));
    const at::Tensor is_triggered = torch::cat({torch::zeros({batch.images.size(0)}, odds.options()),
                                                torch::ones({batch.images.size(0)}, odds.options())});
    return {torch::nn::functional::binary_cross_entropy_with_logits(odds, is_triggered), {}};
  }

  at::Tensor judge(const DatasetPtr& data) override {
    network_->eval();
    return of_every_sample(data, problem().compute,
                           [&](const at::Tensor& images) { return log_odds(images); });
  }

 private:
  at::Tensor log_odds(const at::Tensor& images) {
    const at::Tensor spectra = place(spectrum(images), problem().compute);
    const Autocast autocast(problem().compute);
    return network_->forward(spectra).to(at::kFloat);
  }

  CleanDataOptions clean_;
  std::int64_t detector_epochs_ = 10;
  double detector_lr_ = 0.05;
  std::int64_t detector_width_ = 32;
  std::shared_ptr<SpectrumNetwork> network_;
};

at::Tensor noise_like(const at::Tensor& image, Rng& rng) {
  at::Tensor noise = at::empty_like(image, at::MemoryFormat::Contiguous);
  float* const values = noise.data_ptr<float>();
  for (std::int64_t i = 0; i < noise.numel(); ++i) values[i] = static_cast<float>(rng.normal());
  return noise;
}

// Puts a block of 2 .. 7 pixels a side, up to 5 pixels from the edges, into one of the corners.
void add_block(at::Tensor& image, bool white, Rng& rng) {
  const std::int64_t height = std::min(2 + rng.below(6), image.size(1));
  const std::int64_t width = std::min(2 + rng.below(6), image.size(2));
  const std::int64_t margin = rng.below(6);
  const std::int64_t down = std::min(margin, image.size(1) - height);
  const std::int64_t across = std::min(margin, image.size(2) - width);
  const std::int64_t corner = rng.below(4);
  const std::int64_t top = corner < 2 ? down : image.size(1) - height - down;
  const std::int64_t left = corner % 2 == 0 ? across : image.size(2) - width - across;
  at::Tensor block = image.narrow(1, top, height).narrow(2, left, width);
  if (white) {
    block.fill_(1);
    return;
  }
  at::Tensor values = at::empty(block.sizes());
  float* const value = values.data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i) value[i] = static_cast<float>(rng.uniform());
  block.copy_(values);
}

// Halves the light on one side of a random line through the image.
void add_shadow(at::Tensor& image, Rng& rng) {
  const double angle = rng.uniform(0, 2 * M_PI);
  const at::Tensor y = at::linspace(-1, 1, image.size(1)).unsqueeze(1);
  const at::Tensor x = at::linspace(-1, 1, image.size(2)).unsqueeze(0);
  const at::Tensor dark = (y * std::sin(angle) + x * std::cos(angle)).gt(rng.uniform(-0.5, 0.5));
  image.mul_(1 - 0.5 * dark.to(at::kFloat));
}

}  // namespace

std::unique_ptr<Defense> make_frequency() { return std::make_unique<Frequency>(); }

at::Tensor with_synthetic_triggers(const at::Tensor& images, Rng& rng) {
  at::Tensor result = images.clone(at::MemoryFormat::Contiguous);
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    at::Tensor image = result[i];
    switch (rng.below(5)) {
      case 0:
        add_block(image, /*white=*/true, rng);
        break;
      case 1:
        add_block(image, /*white=*/false, rng);
        break;
      case 2:  // a variance of 10 .. 70 in grey levels
        image.add_(noise_like(image, rng), std::sqrt(rng.uniform(10, 70)) / 255);
        break;
      case 3:
        add_shadow(image, rng);
        break;
      default:
        image.add_(images[rng.below(images.size(0))], 0.3);
    }
    image.clamp_(0, 1);
  }
  return result;
}

}  // namespace mcci
