#include "mcci/nn/resnet.hpp"

#include <string>

#include <torch/nn/init.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "mcci/core/error.hpp"
#include "mcci/nn/feature_map.hpp"

namespace mcci {
namespace {

constexpr std::int64_t largest_small_image = 64;  // the last size that gets the CIFAR stem

torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel,
                              std::int64_t stride = 1) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

// Null if the input can be added as it is.
torch::nn::Sequential projection(std::int64_t in, std::int64_t out, std::int64_t stride) {
  if (stride == 1 && in == out) return nullptr;
  return torch::nn::Sequential(convolution(in, out, 1, stride), torch::nn::BatchNorm2d(out));
}

// What is added to the block's own output. In training a projection is shown the pixels that its stride would
// visit: with AVX-512, oneDNN 2.6 (that of LibTorch 1.13) writes beyond its buffer in the gradient of a
// strided 1x1 filter on fewer than 16 channels if its threads do not divide the batch. Without a stride it
// does not, and the bits are the same. The maximum over single pixels takes them out: a slice's gradient is
// laid out by channel, and then one activation in each stage costs ten times as much.
torch::Tensor shortcut(torch::nn::Sequential& projection, const torch::Tensor& x) {
  if (!projection) return x;
  const auto* convolution = projection[0]->as<torch::nn::Conv2d>();
  const std::int64_t stride = convolution->options.stride()->at(0);
  if (stride == 1 || !torch::GradMode::is_enabled()) return projection->forward(x);
  const torch::Tensor visited = torch::max_pool2d(x, 1, stride);
  return projection[1]->as<torch::nn::BatchNorm2d>()->forward(torch::conv2d(visited, convolution->weight));
}

class BasicBlockImpl : public torch::nn::Module {
 public:
  static constexpr std::int64_t expansion = 1;

  BasicBlockImpl(std::int64_t in, std::int64_t channels, std::int64_t stride)
      : conv1_(register_module("conv1", convolution(in, channels, 3, stride))),
        bn1_(register_module("bn1", torch::nn::BatchNorm2d(channels))),
        conv2_(register_module("conv2", convolution(channels, channels, 3))),
        bn2_(register_module("bn2", torch::nn::BatchNorm2d(channels))),
        downsample_(projection(in, channels, stride)) {
    if (downsample_) register_module("downsample", downsample_);
  }

  torch::Tensor forward(const torch::Tensor& x) {
    torch::Tensor out = bn1_(conv1_(x)).relu_();
    out = bn2_(conv2_(out));
    return (out + shortcut(downsample_, x)).relu_();
  }

 private:
  torch::nn::Conv2d conv1_;
  torch::nn::BatchNorm2d bn1_;
  torch::nn::Conv2d conv2_;
  torch::nn::BatchNorm2d bn2_;
  torch::nn::Sequential downsample_;
};
TORCH_MODULE(BasicBlock);

class BottleneckImpl : public torch::nn::Module {
 public:
  static constexpr std::int64_t expansion = 4;

  BottleneckImpl(std::int64_t in, std::int64_t channels, std::int64_t stride)
      : conv1_(register_module("conv1", convolution(in, channels, 1))),
        bn1_(register_module("bn1", torch::nn::BatchNorm2d(channels))),
        conv2_(register_module("conv2", convolution(channels, channels, 3, stride))),
        bn2_(register_module("bn2", torch::nn::BatchNorm2d(channels))),
        conv3_(register_module("conv3", convolution(channels, channels * expansion, 1))),
        bn3_(register_module("bn3", torch::nn::BatchNorm2d(channels * expansion))),
        downsample_(projection(in, channels * expansion, stride)) {
    if (downsample_) register_module("downsample", downsample_);
  }

  torch::Tensor forward(const torch::Tensor& x) {
    torch::Tensor out = bn1_(conv1_(x)).relu_();
    out = bn2_(conv2_(out)).relu_();
    out = bn3_(conv3_(out));
    return (out + shortcut(downsample_, x)).relu_();
  }

 private:
  torch::nn::Conv2d conv1_;
  torch::nn::BatchNorm2d bn1_;
  torch::nn::Conv2d conv2_;
  torch::nn::BatchNorm2d bn2_;
  torch::nn::Conv2d conv3_;
  torch::nn::BatchNorm2d bn3_;
  torch::nn::Sequential downsample_;
};
TORCH_MODULE(Bottleneck);

template <class Block>
class ResNet : public SpatialBackbone {
 public:
  ResNet(const BackboneConfig& config, const std::vector<std::int64_t>& blocks)
      : pools_(config.image_size > largest_small_image),
        conv1_(register_module("conv1", pools_ ? convolution(config.in_channels, config.width, 7, 2)
                                               : convolution(config.in_channels, config.width, 3))),
        bn1_(register_module("bn1", torch::nn::BatchNorm2d(config.width))) {
    constexpr std::int64_t expansion = Block::ContainedType::expansion;
    std::int64_t in = config.width;
    std::int64_t channels = config.width;
    for (const std::int64_t own_count : blocks) {
      const std::int64_t count = config.depth > 0 ? config.depth : own_count;
      torch::nn::Sequential stage;
      for (std::int64_t i = 0; i < count; ++i) {
        const bool halves = i == 0 && !stages_.empty();
        stage->push_back(Block(in, channels, halves ? 2 : 1));
        in = channels * expansion;
      }
      stages_.push_back(register_module("layer" + std::to_string(stages_.size() + 1), stage));
      channels *= 2;
    }
    fc_ = register_module("fc", torch::nn::Linear(in, config.outputs));

    for (const auto& module : this->modules(/*include_self=*/false)) {
      if (const auto* conv = module->template as<torch::nn::Conv2d>()) {
        torch::nn::init::kaiming_normal_(conv->weight, 0, torch::kFanOut, torch::kReLU);
      }
    }
  }

  std::string head_name() const override { return "fc"; }

  // "layer2.0.conv1.weight": the first block behind those of stage 1.
  std::int64_t depth_of(const std::string& name) const override {
    std::int64_t blocks_before = 0;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
      const std::string prefix = "layer" + std::to_string(stage + 1) + ".";
      if (name.rfind(prefix, 0) == 0) return blocks_before + std::stoll(name.substr(prefix.size())) + 1;
      blocks_before += static_cast<std::int64_t>(stages_[stage]->size());
    }
    return name.rfind("fc.", 0) == 0 ? blocks_before + 1 : 0;
  }

 protected:
  torch::Tensor map(const torch::Tensor& x) override {
    torch::Tensor out = bn1_(conv1_(x)).relu_();
    if (pools_) out = torch::max_pool2d(out, 3, 2, 1);
    for (torch::nn::Sequential& stage : stages_) out = stage->forward(out);
    return out;
  }

  torch::Tensor classify(const torch::Tensor& features) override { return fc_(features); }

 private:
  bool pools_;
  torch::nn::Conv2d conv1_;
  torch::nn::BatchNorm2d bn1_;
  std::vector<torch::nn::Sequential> stages_;
  torch::nn::Linear fc_{nullptr};
};

}  // namespace

std::shared_ptr<Backbone> make_resnet(const BackboneConfig& config, ResidualBlock block,
                                      const std::vector<std::int64_t>& blocks) {
  const std::int64_t smallest = std::int64_t{1} << (blocks.size() - 1);
  if (config.image_size < smallest) {
    throw Error(ErrorKind::usage,
                config.name + " halves the image " + std::to_string(blocks.size() - 1) +
                    " times, but it has only " + std::to_string(config.image_size) + " pixels a side",
                "", "use images of at least " + std::to_string(smallest) + " pixels a side");
  }
  if (block == ResidualBlock::basic) return std::make_shared<ResNet<BasicBlock>>(config, blocks);
  return std::make_shared<ResNet<Bottleneck>>(config, blocks);
}

namespace {

Layout torchvision() {
  Layout layout;
  layout.name = "torchvision";
  for (const char* name : {"conv1", "bn1", "fc"}) layout.rows.push_back({name, {name}});
  for (int stage = 1; stage <= 4; ++stage) {
    const std::string block = "layer" + std::to_string(stage) + ".#.";
    for (const char* part :
         {"conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1"}) {
      layout.rows.push_back({block + part, {block + part}});
    }
  }
  return layout;
}

// ResNetForImageClassification; with the body "" ResNetModel.
Layout transformers(const std::string& name, const std::string& body) {
  const std::string stem = body + "embedder.embedder.";
  Layout layout;
  layout.name = name;
  layout.rows = {
      {"conv1", {stem + "convolution"}}, {"bn1", {stem + "normalization"}}, {"fc", {"classifier.1"}}};
  for (int stage = 1; stage <= 4; ++stage) {
    const std::string own = "layer" + std::to_string(stage) + ".#.";
    const std::string theirs = body + "encoder.stages." + std::to_string(stage - 1) + ".layers.#.";
    for (int i = 1; i <= 3; ++i) {
      const std::string part = theirs + "layer." + std::to_string(i - 1) + ".";
      layout.rows.push_back({own + "conv" + std::to_string(i), {part + "convolution"}});
      layout.rows.push_back({own + "bn" + std::to_string(i), {part + "normalization"}});
    }
    layout.rows.push_back({own + "downsample.0", {theirs + "shortcut.convolution"}});
    layout.rows.push_back({own + "downsample.1", {theirs + "shortcut.normalization"}});
  }
  return layout;
}

}  // namespace

const LayoutFamily& resnet_layouts() {
  static const LayoutFamily family = {
      "ResNet",
      "conv1",
      "fc",
      {torchvision(), transformers("transformers", "resnet."), transformers("transformers-body", "")}};
  return family;
}

}  // namespace mcci
