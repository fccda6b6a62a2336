#include "mcci/nn/efficientnet.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <torch/nn/init.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "mcci/nn/depthwise.hpp"
#include "mcci/nn/feature_map.hpp"

namespace mcci {
namespace {

constexpr std::int64_t stem_channels = 32;
constexpr std::int64_t head_channels = 1280;
constexpr std::int64_t squeeze = 4;  // of a block's input

struct Stage {
  std::int64_t blocks;
  std::int64_t kernel;
  std::int64_t stride;
  std::int64_t expansion;
  std::int64_t channels;
};

constexpr std::array<Stage, 7> stages = {{{1, 3, 1, 1, 16},
                                          {2, 3, 2, 6, 24},
                                          {2, 5, 2, 6, 40},
                                          {3, 3, 2, 6, 80},
                                          {3, 5, 1, 6, 112},
                                          {4, 5, 2, 6, 192},
                                          {1, 3, 1, 6, 320}}};

// To a multiple of 8, down by a tenth at most.
std::int64_t scaled(std::int64_t channels, std::int64_t width) {
  const double wanted = static_cast<double>(channels * width) / stem_channels;
  const std::int64_t rounded = std::max<std::int64_t>(8, static_cast<std::int64_t>(wanted + 4) / 8 * 8);
  return static_cast<double>(rounded) < 0.9 * wanted ? rounded + 8 : rounded;
}

torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel,
                              const EfficientNet& design, std::int64_t stride = 1, std::int64_t groups = 1) {
  const bool pads_itself = !design.tensorflow || stride == 1;
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel)
                               .stride(stride)
                               .padding(pads_itself ? kernel / 2 : 0)
                               .groups(groups)
                               .bias(false));
}

// What TensorFlow's "same" adds to a side of `size` pixels: as much at both ends, one more at the end.
std::int64_t same_padding(std::int64_t size, std::int64_t kernel, std::int64_t stride) {
  return std::max<std::int64_t>(0, ((size + stride - 1) / stride - 1) * stride + kernel - size);
}

torch::Tensor convolved(torch::nn::Conv2d& convolution, const torch::Tensor& x, const EfficientNet& design) {
  const std::int64_t stride = convolution->options.stride()->at(0);
  if (!design.tensorflow || stride == 1) return convolve(convolution, x);
  const std::int64_t kernel = convolution->options.kernel_size()->at(0);
  const std::int64_t below = same_padding(x.size(2), kernel, stride);
  const std::int64_t right = same_padding(x.size(3), kernel, stride);
  return convolve(convolution,
                  torch::constant_pad_nd(x, {right / 2, right - right / 2, below / 2, below - below / 2}));
}

torch::nn::BatchNorm2d batch_norm(std::int64_t channels, const EfficientNet& design) {
  torch::nn::BatchNorm2dOptions options(channels);
  if (design.tensorflow) options.eps(1e-3).momentum(0.01);
  return torch::nn::BatchNorm2d(options);
}

torch::Tensor activated(const torch::Tensor& x, const EfficientNet& design) {
  return design.lite ? torch::clamp(x, 0, 6) : torch::silu(x);
}

class SqueezeExciteImpl : public torch::nn::Module {
 public:
  SqueezeExciteImpl(std::int64_t channels, std::int64_t reduced)
      : conv_reduce_(register_module("conv_reduce", torch::nn::Conv2d(channels, reduced, 1))),
        conv_expand_(register_module("conv_expand", torch::nn::Conv2d(reduced, channels, 1))) {}

  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor seen = torch::silu(conv_reduce_(x.mean({2, 3}, /*keepdim=*/true)));
    return x * conv_expand_(seen).sigmoid();
  }

 private:
  torch::nn::Conv2d conv_reduce_;
  torch::nn::Conv2d conv_expand_;
};
TORCH_MODULE(SqueezeExcite);

// timm's DepthwiseSeparableConv without an expansion, its InvertedResidual with one.
class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(std::int64_t in, std::int64_t out, std::int64_t stride, const Stage& stage,
            const EfficientNet& design)
      : design_(design), skips_(stride == 1 && in == out) {
    const bool expands = stage.expansion != 1;
    const std::int64_t middle = in * stage.expansion;
    if (expands) {
      expand_ = register_module("conv_pw", convolution(in, middle, 1, design));
      expand_norm_ = register_module("bn1", batch_norm(middle, design));
    }
    depthwise_ =
        register_module("conv_dw", convolution(middle, middle, stage.kernel, design, stride, middle));
    depthwise_norm_ = register_module(expands ? "bn2" : "bn1", batch_norm(middle, design));
    if (!design.lite) {
      se_ = register_module("se", SqueezeExcite(middle, std::max<std::int64_t>(1, in / squeeze)));
    }
    project_ = register_module(expands ? "conv_pwl" : "conv_pw", convolution(middle, out, 1, design));
    project_norm_ = register_module(expands ? "bn3" : "bn2", batch_norm(out, design));
  }

  torch::Tensor forward(const torch::Tensor& x) {
    torch::Tensor y = expand_ ? activated(expand_norm_(expand_(x)), design_) : x;
    y = activated(depthwise_norm_(convolved(depthwise_, y, design_)), design_);
    if (se_) y = se_(y);
    y = project_norm_(project_(y));
    return skips_ ? x + y : y;
  }

 private:
  EfficientNet design_;
  bool skips_;
  torch::nn::Conv2d expand_{nullptr};
  torch::nn::BatchNorm2d expand_norm_{nullptr};
  torch::nn::Conv2d depthwise_{nullptr};
  torch::nn::BatchNorm2d depthwise_norm_{nullptr};
  SqueezeExcite se_{nullptr};
  torch::nn::Conv2d project_{nullptr};
  torch::nn::BatchNorm2d project_norm_{nullptr};
};
TORCH_MODULE(Block);

class EfficientNetB0 : public SpatialBackbone {
 public:
  EfficientNetB0(const BackboneConfig& config, const EfficientNet& design) : design_(design) {
    std::int64_t channels = scaled(stem_channels, config.width);
    conv_stem_ = register_module("conv_stem", convolution(config.in_channels, channels, 3, design, 2));
    bn1_ = register_module("bn1", batch_norm(channels, design));
    torch::nn::ModuleList blocks = register_module("blocks", torch::nn::ModuleList());
    for (const Stage& stage : stages) {
      const std::int64_t out = scaled(stage.channels, config.width);
      torch::nn::Sequential blocks_of_stage;
      for (std::int64_t i = 0; i < (config.depth > 0 ? config.depth : stage.blocks); ++i) {
        blocks_of_stage->push_back(Block(channels, out, i == 0 ? stage.stride : 1, stage, design));
        channels = out;
      }
      blocks->push_back(blocks_of_stage);
      stages_.push_back(blocks_of_stage);
    }
    const std::int64_t width = scaled(head_channels, config.width);
    conv_head_ = register_module("conv_head", convolution(channels, width, 1, design));
    bn2_ = register_module("bn2", batch_norm(width, design));
    classifier_ = register_module("classifier", torch::nn::Linear(width, config.outputs));

    for (const auto& module : modules(/*include_self=*/false)) {
      if (const auto* conv = module->as<torch::nn::Conv2d>()) {
        const torch::Tensor& weight = conv->weight;
        const std::int64_t fan_out =
            weight.size(2) * weight.size(3) * weight.size(0) / conv->options.groups();
        torch::nn::init::normal_(weight, 0, std::sqrt(2.0 / static_cast<double>(fan_out)));
        if (conv->bias.defined()) torch::nn::init::zeros_(conv->bias);
      }
    }
    const double bound = 1 / std::sqrt(static_cast<double>(config.outputs));
    torch::nn::init::uniform_(classifier_->weight, -bound, bound);
    torch::nn::init::zeros_(classifier_->bias);
  }

  std::string head_name() const override { return "classifier"; }

  // The last convolution and its norm are one more block.
  std::int64_t depth_of(const std::string& name) const override {
    std::int64_t blocks_before = 0;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
      const std::string prefix = "blocks." + std::to_string(stage) + ".";
      if (name.rfind(prefix, 0) == 0) return blocks_before + std::stoll(name.substr(prefix.size())) + 1;
      blocks_before += static_cast<std::int64_t>(stages_[stage]->size());
    }
    if (name.rfind("conv_head.", 0) == 0 || name.rfind("bn2.", 0) == 0) return blocks_before + 1;
    return name.rfind("classifier.", 0) == 0 ? blocks_before + 2 : 0;
  }

 protected:
  torch::Tensor map(const torch::Tensor& images) override {
    torch::Tensor x = activated(bn1_(convolved(conv_stem_, images, design_)), design_);
    for (torch::nn::Sequential& stage : stages_) x = stage->forward(x);
    return activated(bn2_(conv_head_(x)), design_);
  }

  torch::Tensor classify(const torch::Tensor& features) override { return classifier_(features); }

 private:
  EfficientNet design_;
  torch::nn::Conv2d conv_stem_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<torch::nn::Sequential> stages_;
  torch::nn::Conv2d conv_head_{nullptr};
  torch::nn::BatchNorm2d bn2_{nullptr};
  torch::nn::Linear classifier_{nullptr};
};

// The parts of a block, by our names.
struct BlockNames {
  std::string expand;  // empty in the first stage, which does not expand
  std::string expand_norm;
  std::string depthwise;
  std::string depthwise_norm;
  std::string project;
  std::string project_norm;
};

BlockNames names_in(const Stage& stage) {
  if (stage.expansion == 1) return {"", "", "conv_dw", "bn1", "conv_pw", "bn2"};
  return {"conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"};
}

Layout timm() {
  Layout layout;
  layout.name = "timm";
  for (const char* name : {"conv_stem", "bn1", "conv_head", "bn2", "classifier"})
    layout.rows.push_back({name, {name}});
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const std::string block = "blocks." + std::to_string(s) + ".#.";
    for (const char* part :
         {"conv_pw", "bn1", "conv_dw", "bn2", "se.conv_reduce", "se.conv_expand", "conv_pwl", "bn3"}) {
      layout.rows.push_back({block + part, {block + part}});
    }
  }
  return layout;
}

Layout torchvision() {
  Layout layout;
  layout.name = "torchvision";
  layout.rows = {{"conv_stem", {"features.0.0"}},
                 {"bn1", {"features.0.1"}},
                 {"conv_head", {"features.8.0"}},
                 {"bn2", {"features.8.1"}},
                 {"classifier", {"classifier.1"}}};
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const std::string own = "blocks." + std::to_string(s) + ".#.";
    const std::string theirs = "features." + std::to_string(s + 1) + ".#.block.";
    const BlockNames names = names_in(stages.at(s));
    int part = 0;
    const auto pair = [&](const std::string& conv, const std::string& norm) {
      layout.rows.push_back({own + conv, {theirs + std::to_string(part) + ".0"}});
      layout.rows.push_back({own + norm, {theirs + std::to_string(part) + ".1"}});
      ++part;
    };
    if (!names.expand.empty()) pair(names.expand, names.expand_norm);
    pair(names.depthwise, names.depthwise_norm);
    layout.rows.push_back({own + "se.conv_reduce", {theirs + std::to_string(part) + ".fc1"}});
    layout.rows.push_back({own + "se.conv_expand", {theirs + std::to_string(part) + ".fc2"}});
    ++part;
    pair(names.project, names.project_norm);
  }
  return layout;
}

// Its blocks are counted through, so that the table is for B0's depth.
Layout efficientnet_pytorch() {
  Layout layout;
  layout.name = "efficientnet_pytorch";
  layout.rows = {{"conv_stem", {"_conv_stem"}},
                 {"bn1", {"_bn0"}},
                 {"conv_head", {"_conv_head"}},
                 {"bn2", {"_bn1"}},
                 {"classifier", {"_fc"}}};
  int block = 0;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const BlockNames names = names_in(stages.at(s));
    for (std::int64_t i = 0; i < stages.at(s).blocks; ++i, ++block) {
      const std::string own = "blocks." + std::to_string(s) + "." + std::to_string(i) + ".";
      const std::string theirs = "_blocks." + std::to_string(block) + ".";
      if (!names.expand.empty()) {
        layout.rows.push_back({own + names.expand, {theirs + "_expand_conv"}});
        layout.rows.push_back({own + names.expand_norm, {theirs + "_bn0"}});
      }
      layout.rows.push_back({own + names.depthwise, {theirs + "_depthwise_conv"}});
      layout.rows.push_back({own + names.depthwise_norm, {theirs + "_bn1"}});
      layout.rows.push_back({own + "se.conv_reduce", {theirs + "_se_reduce"}});
      layout.rows.push_back({own + "se.conv_expand", {theirs + "_se_expand"}});
      layout.rows.push_back({own + names.project, {theirs + "_project_conv"}});
      layout.rows.push_back({own + names.project_norm, {theirs + "_bn2"}});
    }
  }
  return layout;
}

}  // namespace

std::shared_ptr<Backbone> make_efficientnet(const BackboneConfig& config, const EfficientNet& design) {
  return std::make_shared<EfficientNetB0>(config, design);
}

const LayoutFamily& efficientnet_layouts() {
  static const LayoutFamily family = {
      "EfficientNet", "conv_stem", "classifier", {timm(), torchvision(), efficientnet_pytorch()}};
  return family;
}

}  // namespace mcci
