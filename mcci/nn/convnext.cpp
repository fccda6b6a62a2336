#include "mcci/nn/convnext.hpp"

#include <torch/nn/init.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "mcci/core/error.hpp"
#include "mcci/nn/depthwise.hpp"
#include "mcci/nn/feature_map.hpp"

namespace mcci {
namespace {

constexpr double epsilon = 1e-6;  // of layer norm
constexpr double initial_scale = 1e-6;
constexpr std::int64_t mlp_ratio = 4;
constexpr std::int64_t smallest_image = 32;

torch::nn::LayerNorm layer_norm(std::int64_t channels) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({channels}).eps(epsilon));
}

// Layer norm over the channels of [B,C,H,W]; in float32, which is the dtype of its weights, under autocast
// too.
class LayerNorm2dImpl : public torch::nn::LayerNormImpl {
 public:
  explicit LayerNorm2dImpl(std::int64_t channels)
      : torch::nn::LayerNormImpl(torch::nn::LayerNormOptions({channels}).eps(epsilon)) {}

  torch::Tensor forward(const torch::Tensor& x) {
    return torch::nn::LayerNormImpl::forward(x.permute({0, 2, 3, 1}).to(weight.scalar_type()))
        .permute({0, 3, 1, 2});
  }
};
TORCH_MODULE(LayerNorm2d);

torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).stride(stride));
}

class MlpImpl : public torch::nn::Module {
 public:
  explicit MlpImpl(std::int64_t width)
      : fc1_(register_module("fc1", torch::nn::Linear(width, mlp_ratio * width))),
        fc2_(register_module("fc2", torch::nn::Linear(mlp_ratio * width, width))) {}

  torch::Tensor forward(const torch::Tensor& x) { return fc2_(torch::gelu(fc1_(x))); }

 private:
  torch::nn::Linear fc1_;
  torch::nn::Linear fc2_;
};
TORCH_MODULE(Mlp);

class BlockImpl : public torch::nn::Module {
 public:
  explicit BlockImpl(std::int64_t channels)
      : gamma_(register_parameter("gamma", torch::full({channels}, initial_scale))),
        conv_dw_(register_module(
            "conv_dw",
            torch::nn::Conv2d(torch::nn::Conv2dOptions(channels, channels, 7).padding(3).groups(channels)))),
        norm_(register_module("norm", layer_norm(channels))),
        mlp_(register_module("mlp", Mlp(channels))) {}

  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor seen = convolve(conv_dw_, x).permute({0, 2, 3, 1}).to(gamma_.scalar_type());
    return x + (mlp_(norm_(seen)) * gamma_).permute({0, 3, 1, 2});
  }

 private:
  torch::Tensor gamma_;
  torch::nn::Conv2d conv_dw_;
  torch::nn::LayerNorm norm_;
  Mlp mlp_;
};
TORCH_MODULE(Block);

class StageImpl : public torch::nn::Module {
 public:
  StageImpl(std::int64_t in, std::int64_t channels, std::int64_t count) {
    if (in != channels) {
      downsample_ = register_module("downsample",
                                    torch::nn::Sequential(LayerNorm2d(in), convolution(in, channels, 2, 2)));
    }
    for (std::int64_t i = 0; i < count; ++i) blocks_->push_back(Block(channels));
    register_module("blocks", blocks_);
  }

  torch::Tensor forward(const torch::Tensor& x) {
    return blocks_->forward(downsample_ ? downsample_->forward(x) : x);
  }

 private:
  torch::nn::Sequential downsample_{nullptr};
  torch::nn::Sequential blocks_;
};
TORCH_MODULE(Stage);

class HeadImpl : public torch::nn::Module {
 public:
  HeadImpl(std::int64_t width, std::int64_t outputs)
      : norm(register_module("norm", layer_norm(width))),
        fc(register_module("fc", torch::nn::Linear(width, outputs))) {}

  torch::nn::LayerNorm norm;
  torch::nn::Linear fc;
};
TORCH_MODULE(Head);

class ConvNeXt : public SpatialBackbone {
 public:
  ConvNeXt(const BackboneConfig& config, const std::vector<std::int64_t>& blocks)
      : stem_(
            register_module("stem", torch::nn::Sequential(convolution(config.in_channels, config.width, 4, 4),
                                                          LayerNorm2d(config.width)))) {
    std::int64_t in = config.width;
    std::int64_t channels = config.width;
    for (const std::int64_t own_count : blocks) {
      counts_.push_back(config.depth > 0 ? config.depth : own_count);
      stages_->push_back(Stage(in, channels, counts_.back()));
      in = channels;
      channels *= 2;
    }
    register_module("stages", stages_);
    head_ = register_module("head", Head(in, config.outputs));

    for (const auto& module : modules(/*include_self=*/false)) {
      if (const auto* conv = module->as<torch::nn::Conv2d>()) {
        torch::nn::init::normal_(conv->weight, 0, 0.02);
        torch::nn::init::zeros_(conv->bias);
      } else if (const auto* linear = module->as<torch::nn::Linear>()) {
        torch::nn::init::normal_(linear->weight, 0, 0.02);
        torch::nn::init::zeros_(linear->bias);
      }
    }
  }

  std::string head_name() const override { return "head.fc"; }

  // A stage's downsampling belongs to its first block.
  std::int64_t depth_of(const std::string& name) const override {
    std::int64_t blocks_before = 0;
    for (std::size_t stage = 0; stage < counts_.size(); ++stage) {
      const std::string prefix = "stages." + std::to_string(stage) + ".";
      const std::string block = prefix + "blocks.";
      if (name.rfind(block, 0) == 0) return blocks_before + std::stoll(name.substr(block.size())) + 1;
      if (name.rfind(prefix, 0) == 0) return blocks_before + 1;
      blocks_before += counts_[stage];
    }
    return name.rfind("head.", 0) == 0 ? blocks_before + 1 : 0;
  }

 protected:
  torch::Tensor map(const torch::Tensor& x) override { return stages_->forward(stem_->forward(x)); }

  torch::Tensor embed(const torch::Tensor& x) override { return head_->norm(SpatialBackbone::embed(x)); }

  torch::Tensor classify(const torch::Tensor& features) override { return head_->fc(features); }

 private:
  torch::nn::Sequential stem_;
  std::vector<std::int64_t> counts_;  // blocks of each stage
  torch::nn::Sequential stages_;
  Head head_{nullptr};
};

using Kind = LayoutRow::Kind;
using Shape = LayoutRow::Shape;

constexpr int stage_count = 4;

LayoutRow row(const std::string& own, const std::string& theirs) { return {own, {theirs}}; }

// What a layout calls the parts.
struct Names {
  std::string stem, stem_norm;
  std::string (*downsample)(int stage);
  std::string (*block)(int stage);
  std::string gamma, depthwise, norm, fc1, fc2;  // in a block
  std::string head_norm, head;
  Shape gamma_shape = Shape::same;
};

Layout layout_of(const std::string& name, const Names& names) {
  Layout layout;
  layout.name = name;
  layout.rows = {row("stem.0", names.stem), row("stem.1", names.stem_norm), row("head.norm", names.head_norm),
                 row("head.fc", names.head)};
  for (int stage = 0; stage < stage_count; ++stage) {
    const std::string own = "stages." + std::to_string(stage) + ".";
    if (stage > 0) {
      layout.rows.push_back(row(own + "downsample.0", names.downsample(stage) + "0"));
      layout.rows.push_back(row(own + "downsample.1", names.downsample(stage) + "1"));
    }
    const std::string block = names.block(stage);
    layout.rows.push_back({own + "blocks.#.gamma", {block + names.gamma}, Kind::tensor, names.gamma_shape});
    layout.rows.push_back(row(own + "blocks.#.conv_dw", block + names.depthwise));
    layout.rows.push_back(row(own + "blocks.#.norm", block + names.norm));
    layout.rows.push_back(row(own + "blocks.#.mlp.fc1", block + names.fc1));
    layout.rows.push_back(row(own + "blocks.#.mlp.fc2", block + names.fc2));
  }
  return layout;
}

std::string dotted(const std::string& text, int number) { return text + std::to_string(number) + "."; }

}  // namespace

std::shared_ptr<Backbone> make_convnext(const BackboneConfig& config,
                                        const std::vector<std::int64_t>& blocks) {
  if (config.image_size < smallest_image) {
    throw Error(ErrorKind::usage,
                config.name + " divides the image by " + std::to_string(smallest_image) +
                    ", but it has only " + std::to_string(config.image_size) + " pixels a side",
                "", "use images of at least " + std::to_string(smallest_image) + " pixels a side");
  }
  return std::make_shared<ConvNeXt>(config, blocks);
}

const LayoutFamily& convnext_layouts() {
  static const LayoutFamily family = [] {
    Names timm;
    timm.stem = "stem.0";
    timm.stem_norm = "stem.1";
    timm.downsample = [](int stage) { return dotted("stages.", stage) + "downsample."; };
    timm.block = [](int stage) { return dotted("stages.", stage) + "blocks.#."; };
    timm.gamma = "gamma";
    timm.depthwise = "conv_dw";
    timm.norm = "norm";
    timm.fc1 = "mlp.fc1";
    timm.fc2 = "mlp.fc2";
    timm.head_norm = "head.norm";
    timm.head = "head.fc";

    Names torchvision;
    torchvision.stem = "features.0.0";
    torchvision.stem_norm = "features.0.1";
    torchvision.downsample = [](int stage) { return dotted("features.", 2 * stage); };
    torchvision.block = [](int stage) { return dotted("features.", 2 * stage + 1) + "#."; };
    torchvision.gamma = "layer_scale";
    torchvision.gamma_shape = Shape::column;
    torchvision.depthwise = "block.0";
    torchvision.norm = "block.2";
    torchvision.fc1 = "block.3";
    torchvision.fc2 = "block.5";
    torchvision.head_norm = "classifier.0";
    torchvision.head = "classifier.2";

    Names own;
    own.stem = "downsample_layers.0.0";
    own.stem_norm = "downsample_layers.0.1";
    own.downsample = [](int stage) { return dotted("downsample_layers.", stage); };
    own.block = [](int stage) { return dotted("stages.", stage) + "#."; };
    own.gamma = "gamma";
    own.depthwise = "dwconv";
    own.norm = "norm";
    own.fc1 = "pwconv1";
    own.fc2 = "pwconv2";
    own.head_norm = "norm";
    own.head = "head";

    Names transformers;
    transformers.stem = "convnext.embeddings.patch_embeddings";
    transformers.stem_norm = "convnext.embeddings.layernorm";
    transformers.downsample = [](int stage) {
      return dotted("convnext.encoder.stages.", stage) + "downsampling_layer.";
    };
    transformers.block = [](int stage) { return dotted("convnext.encoder.stages.", stage) + "layers.#."; };
    transformers.gamma = "layer_scale_parameter";
    transformers.depthwise = "dwconv";
    transformers.norm = "layernorm";
    transformers.fc1 = "pwconv1";
    transformers.fc2 = "pwconv2";
    transformers.head_norm = "convnext.layernorm";
    transformers.head = "classifier";

    return LayoutFamily{"ConvNeXt",
                        "stem.0",
                        "head.fc",
                        {layout_of("timm", timm), layout_of("torchvision", torchvision),
                         layout_of("convnext", own), layout_of("transformers", transformers)}};
  }();
  return family;
}

}  // namespace mcci
