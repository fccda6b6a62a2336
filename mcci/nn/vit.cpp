#include "mcci/nn/vit.hpp"

#include <algorithm>
#include <cmath>

#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "mcci/core/error.hpp"
#include "mcci/nn/attention.hpp"
#include "mcci/nn/recompute.hpp"

namespace mcci {
namespace {

constexpr std::int64_t mlp_ratio = 4;

torch::nn::LayerNorm layer_norm(std::int64_t width, double epsilon) {
  return torch::nn::LayerNorm(torch::nn::LayerNormOptions({width}).eps(epsilon));
}

// Tokens [1,N,D] that are the same for every image of x [B,..,D]; in a trace, for any batch.
torch::Tensor for_each_image(const torch::Tensor& tokens, const torch::Tensor& x) {
  return tokens.expand_as(x.narrow(1, 0, 1).expand({-1, tokens.size(1), -1}));
}

class AttentionImpl : public torch::nn::Module {
 public:
  AttentionImpl(std::int64_t width, std::int64_t heads)
      : heads_(heads),
        qkv_(register_module("qkv", torch::nn::Linear(width, 3 * width))),
        proj_(register_module("proj", torch::nn::Linear(width, width))) {}

  torch::Tensor forward(const torch::Tensor& x) {
    const std::int64_t tokens = x.size(1);
    const std::int64_t width = x.size(2);
    const torch::Tensor qkv =
        qkv_(x).reshape({-1, tokens, 3, heads_, width / heads_}).permute({2, 0, 3, 1, 4});
    const torch::Tensor out = attention(qkv[0], qkv[1], qkv[2]);
    return proj_(out.transpose(1, 2).reshape({-1, tokens, width}));
  }

 private:
  std::int64_t heads_;
  torch::nn::Linear qkv_;
  torch::nn::Linear proj_;
};
TORCH_MODULE(Attention);

class MlpImpl : public torch::nn::Module {
 public:
  MlpImpl(std::int64_t width, bool quick)
      : quick_(quick),
        fc1_(register_module("fc1", torch::nn::Linear(width, mlp_ratio * width))),
        fc2_(register_module("fc2", torch::nn::Linear(mlp_ratio * width, width))) {}

  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor h = fc1_(x);
    return fc2_(quick_ ? h * (1.702 * h).sigmoid() : torch::gelu(h));
  }

 private:
  bool quick_;
  torch::nn::Linear fc1_;
  torch::nn::Linear fc2_;
};
TORCH_MODULE(Mlp);

class LayerScaleImpl : public torch::nn::Module {
 public:
  LayerScaleImpl(std::int64_t width, double initial)
      : gamma_(register_parameter("gamma", torch::full({width}, initial))) {}

  torch::Tensor forward(const torch::Tensor& x) { return x * gamma_; }

 private:
  torch::Tensor gamma_;
};
TORCH_MODULE(LayerScale);

class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(std::int64_t width, const VisionTransformer& design)
      : norm1_(register_module("norm1", layer_norm(width, design.epsilon))),
        attn_(register_module("attn", Attention(width, design.heads))) {
    if (design.layer_scale > 0) ls1_ = register_module("ls1", LayerScale(width, design.layer_scale));
    norm2_ = register_module("norm2", layer_norm(width, design.epsilon));
    mlp_ = register_module("mlp", Mlp(width, design.quick_gelu));
    if (design.layer_scale > 0) ls2_ = register_module("ls2", LayerScale(width, design.layer_scale));
  }

  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor seen = attn_(norm1_(x));
    const torch::Tensor y = x + (ls1_ ? ls1_(seen) : seen);
    const torch::Tensor thought = mlp_(norm2_(y));
    return y + (ls2_ ? ls2_(thought) : thought);
  }

 private:
  torch::nn::LayerNorm norm1_;
  Attention attn_;
  LayerScale ls1_{nullptr};
  torch::nn::LayerNorm norm2_{nullptr};
  Mlp mlp_{nullptr};
  LayerScale ls2_{nullptr};
};
TORCH_MODULE(Block);

class PatchEmbedImpl : public torch::nn::Module {
 public:
  PatchEmbedImpl(std::int64_t channels, std::int64_t width, std::int64_t patch, bool bias)
      : proj_(register_module(
            "proj",
            torch::nn::Conv2d(torch::nn::Conv2dOptions(channels, width, patch).stride(patch).bias(bias)))) {}

  torch::Tensor forward(const torch::Tensor& x) { return proj_(x); }

 private:
  torch::nn::Conv2d proj_;
};
TORCH_MODULE(PatchEmbed);

// Positions [1, 1 + rows * columns, D] of one grid for another.
torch::Tensor resampled(const torch::Tensor& positions, std::int64_t rows, std::int64_t columns,
                        std::int64_t new_rows, std::int64_t new_columns) {
  const torch::Tensor grid = positions.narrow(1, 1, rows * columns)
                                 .to(torch::kFloat)
                                 .unflatten(1, {rows, columns})
                                 .permute({0, 3, 1, 2});
  const torch::Tensor resized =
      at::_upsample_bicubic2d_aa(grid, {new_rows, new_columns}, /*align_corners=*/false);
  return torch::cat(
      {positions.narrow(1, 0, 1), resized.permute({0, 2, 3, 1}).flatten(1, 2).to(positions.scalar_type())},
      1);
}

class Vit : public Backbone {
 public:
  Vit(const BackboneConfig& config, const VisionTransformer& design)
      : patch_(design.patch), side_(patches(config.image_size)), recompute_(config.recompute) {
    const std::int64_t width = config.width;
    cls_token_ = register_parameter("cls_token", torch::zeros({1, 1, width}));
    if (design.registers > 0)
      reg_token_ = register_parameter("reg_token", torch::zeros({1, design.registers, width}));
    pos_embed_ = register_parameter("pos_embed", torch::zeros({1, 1 + side_ * side_, width}));
    patch_embed_ =
        register_module("patch_embed", PatchEmbed(config.in_channels, width, patch_, !design.norm_before));
    if (design.norm_before) norm_pre_ = register_module("norm_pre", layer_norm(width, design.epsilon));
    blocks_ = register_module("blocks", torch::nn::ModuleList());
    const std::int64_t depth = config.depth > 0 ? config.depth : design.depth;
    for (std::int64_t i = 0; i < depth; ++i) blocks_->push_back(Block(width, design));
    norm_ = register_module("norm", layer_norm(width, design.epsilon));
    head_ = register_module("head", torch::nn::Linear(width, config.outputs));

    torch::nn::init::normal_(pos_embed_, 0, 0.02);
    torch::nn::init::normal_(cls_token_, 0, 1e-6);
    if (reg_token_.defined()) torch::nn::init::normal_(reg_token_, 0, 1e-6);
    for (const auto& module : modules(/*include_self=*/false)) {
      if (const auto* linear = module->as<torch::nn::Linear>()) {
        torch::nn::init::normal_(linear->weight, 0, 0.02);
        torch::nn::init::zeros_(linear->bias);
      }
    }
  }

  std::string head_name() const override { return "head"; }

  // The last norm belongs to the head.
  std::int64_t depth_of(const std::string& name) const override {
    const std::string prefix = "blocks.";
    if (name.rfind(prefix, 0) == 0) return std::stoll(name.substr(prefix.size())) + 1;
    const bool of_head = name.rfind("head.", 0) == 0 || name.rfind("norm.", 0) == 0;
    return of_head ? static_cast<std::int64_t>(blocks_->size()) + 1 : 0;
  }

  void fit_to_image_size(TensorList& weights) const override {
    for (auto& [name, tensor] : weights) {
      if (name != "pos_embed" || tensor.dim() != 3 || tensor.size(0) != 1 || tensor.size(2) == 0) continue;
      const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(tensor.size(1) - 1)));
      const bool square = side > 0 && side * side == tensor.size(1) - 1 && tensor.is_floating_point();
      if (square && side != side_) tensor = resampled(tensor, side, side, side_, side_);
    }
  }

 protected:
  torch::Tensor embed(const torch::Tensor& images) override {
    const torch::Tensor grid = patch_embed_(padded(images));
    torch::Tensor x = grid.flatten(2).transpose(1, 2);
    const torch::Tensor positions = grid.size(2) == side_ && grid.size(3) == side_
                                        ? pos_embed_
                                        : resampled(pos_embed_, side_, side_, grid.size(2), grid.size(3));
    const torch::Tensor of_class = positions.narrow(1, 0, 1);
    x = x + positions.narrow(1, 1, positions.size(1) - 1);
    std::vector<torch::Tensor> tokens = {for_each_image(cls_token_ + of_class, x)};
    if (reg_token_.defined()) tokens.push_back(for_each_image(reg_token_, x));
    tokens.push_back(x);
    x = torch::cat(tokens, 1);
    if (norm_pre_) x = norm_pre_(x);
    for (const auto& module : *blocks_) {
      const std::shared_ptr<BlockImpl> block = std::dynamic_pointer_cast<BlockImpl>(module);
      const auto forward = [block](const torch::Tensor& input) { return block->forward(input); };
      x = recompute_ ? recomputed(forward, x) : forward(x);
    }
    return norm_(x.select(1, 0));
  }

  torch::Tensor classify(const torch::Tensor& features) override { return head_(features); }

 private:
  std::int64_t patches(std::int64_t pixels) const { return (pixels + patch_ - 1) / patch_; }

  torch::Tensor padded(const torch::Tensor& images) const {
    const std::int64_t below = patches(images.size(2)) * patch_ - images.size(2);
    const std::int64_t right = patches(images.size(3)) * patch_ - images.size(3);
    return below == 0 && right == 0 ? images : torch::constant_pad_nd(images, {0, right, 0, below});
  }

  std::int64_t patch_;
  std::int64_t side_;  // of the grid of pos_embed, in patches
  bool recompute_;
  torch::Tensor cls_token_;
  torch::Tensor reg_token_;
  torch::Tensor pos_embed_;
  PatchEmbed patch_embed_{nullptr};
  torch::nn::LayerNorm norm_pre_{nullptr};
  torch::nn::ModuleList blocks_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
  torch::nn::Linear head_{nullptr};
};

}  // namespace

std::shared_ptr<Backbone> make_vit(const BackboneConfig& config, const VisionTransformer& design) {
  if (config.width % design.heads != 0) {
    throw Error(ErrorKind::usage, "the width of " + config.name + " must be a multiple of its " +
                                      std::to_string(design.heads) + " heads, not " +
                                      std::to_string(config.width));
  }
  return std::make_shared<Vit>(config, design);
}

}  // namespace mcci
