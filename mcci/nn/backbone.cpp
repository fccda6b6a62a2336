#include "mcci/nn/backbone.hpp"

#include "mcci/core/error.hpp"
#include "mcci/nn/convnext.hpp"
#include "mcci/nn/efficientnet.hpp"
#include "mcci/nn/resnet.hpp"
#include "mcci/nn/vit.hpp"

namespace mcci {
namespace {

constexpr std::int64_t largest_width = 2048;
constexpr std::int64_t largest_depth = 64;

const InputConvention imagenet = {224, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}, "bilinear"};
const InputConvention imagenet_bicubic = {224, imagenet.mean, imagenet.std, "bicubic"};
const InputConvention clip = {
    224, {0.48145466, 0.4578275, 0.40821073}, {0.26862954, 0.26130258, 0.27577711}, "bicubic"};
const InputConvention inception = {224, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}, "bicubic"};

BackboneEntry resnet(ResidualBlock block, const std::vector<std::int64_t>& blocks, std::int64_t width = 64) {
  return {[block, blocks](const BackboneConfig& config) { return make_resnet(config, block, blocks); }, width,
          imagenet, &resnet_layouts()};
}

BackboneEntry efficientnet(const EfficientNet& design, const InputConvention& input) {
  return {[design](const BackboneConfig& config) { return make_efficientnet(config, design); }, 32, input,
          &efficientnet_layouts()};
}

BackboneEntry convnext(const std::vector<std::int64_t>& blocks) {
  return {[blocks](const BackboneConfig& config) { return make_convnext(config, blocks); }, 96,
          imagenet_bicubic, &convnext_layouts()};
}

BackboneEntry vit(std::int64_t width, const VisionTransformer& design,
                  const InputConvention& input = inception) {
  return {[design](const BackboneConfig& config) { return make_vit(config, design); }, width, input,
          &vit_layouts()};
}

InputConvention with_size(InputConvention input, std::int64_t size) {
  input.size = size;
  return input;
}

VisionTransformer plain_vit(std::int64_t patch, std::int64_t depth, std::int64_t heads) {
  VisionTransformer design;
  design.patch = patch;
  design.depth = depth;
  design.heads = heads;
  return design;
}

BackboneEntry clip_vit(std::int64_t width, std::int64_t patch, std::int64_t depth, std::int64_t heads,
                       bool quick_gelu) {
  VisionTransformer design = plain_vit(patch, depth, heads);
  design.epsilon = 1e-5;
  design.norm_before = true;
  design.quick_gelu = quick_gelu;
  return vit(width, design, clip);
}

BackboneEntry dinov2_vit(std::int64_t width, std::int64_t depth, std::int64_t heads, std::int64_t registers) {
  VisionTransformer design = plain_vit(14, depth, heads);
  design.layer_scale = 1e-5;
  design.registers = registers;
  return vit(width, design, with_size(imagenet_bicubic, 518));
}

BackboneEntry blip_vit(std::int64_t width, std::int64_t depth, std::int64_t heads) {
  VisionTransformer design = plain_vit(16, depth, heads);
  design.epsilon = 1e-5;
  return vit(width, design, with_size(clip, 384));
}

void check(const char* what, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return;
  throw Error(ErrorKind::usage, std::string(what) + " of a backbone must lie in " + std::to_string(low) +
                                    " .. " + std::to_string(high) + ", not be " + std::to_string(value));
}

}  // namespace

const Registry<BackboneEntry>& backbones() {
  static const Registry<BackboneEntry> registry(
      "backbone",
      {
          {"resnet8",
           "ResNet of three stages with one basic block each, width 16: for tests and demonstrations",
           resnet(ResidualBlock::basic, {1, 1, 1}, 16)},
          {"resnet18", "ResNet-18 (He et al., 2016)", resnet(ResidualBlock::basic, {2, 2, 2, 2})},
          {"resnet34", "ResNet-34 (He et al., 2016)", resnet(ResidualBlock::basic, {3, 4, 6, 3})},
          {"resnet50", "ResNet-50 v1.5 (He et al., 2016)", resnet(ResidualBlock::bottleneck, {3, 4, 6, 3})},
          {"efficientnet_b0", "EfficientNet-B0 (Tan and Le, 2019), as torchvision and timm train it",
           efficientnet({/*lite=*/false, /*tensorflow=*/false}, imagenet_bicubic)},
          {"tf_efficientnet_b0", "EfficientNet-B0, as TensorFlow's original and its copies compute it",
           efficientnet({/*lite=*/false, /*tensorflow=*/true}, imagenet_bicubic)},
          {"tf_efficientnet_lite0", "EfficientNet-Lite0, as TensorFlow's original and its copies compute it",
           efficientnet({/*lite=*/true, /*tensorflow=*/true}, inception)},
          {"convnext_tiny", "ConvNeXt-T (Liu et al., 2022)", convnext({3, 3, 9, 3})},
          {"vit_nano_patch4_32", "ViT of 6 blocks for images of 32 pixels: for processors",
           vit(192, plain_vit(4, 6, 3), with_size(inception, 32))},
          {"vit_tiny_patch16_224", "ViT-Ti/16 (Touvron et al., 2021)", vit(192, plain_vit(16, 12, 3))},
          {"vit_small_patch16_224", "ViT-S/16 (Touvron et al., 2021)", vit(384, plain_vit(16, 12, 6))},
          {"vit_base_patch16_224", "ViT-B/16 (Dosovitskiy et al., 2021)", vit(768, plain_vit(16, 12, 12))},
          {"vit_base_patch32_224", "ViT-B/32 (Dosovitskiy et al., 2021)", vit(768, plain_vit(32, 12, 12))},
          {"vit_large_patch16_224", "ViT-L/16 (Dosovitskiy et al., 2021)", vit(1024, plain_vit(16, 24, 16))},
          {"vit_large_patch14_224", "ViT-L/14", vit(1024, plain_vit(14, 24, 16))},
          {"vit_b_16", "ViT-B/16 as torchvision publishes it", vit(768, plain_vit(16, 12, 12), imagenet)},
          {"vit_b_32", "ViT-B/32 as torchvision publishes it", vit(768, plain_vit(32, 12, 12), imagenet)},
          {"vit_l_16", "ViT-L/16 as torchvision publishes it", vit(1024, plain_vit(16, 24, 16), imagenet)},
          {"vit_base_patch32_clip_224", "CLIP's ViT-B/32 (OpenCLIP)", clip_vit(768, 32, 12, 12, false)},
          {"vit_base_patch16_clip_224", "CLIP's ViT-B/16 (OpenCLIP)", clip_vit(768, 16, 12, 12, false)},
          {"vit_large_patch14_clip_224", "CLIP's ViT-L/14 (OpenCLIP)", clip_vit(1024, 14, 24, 16, false)},
          {"vit_base_patch32_clip_quickgelu_224", "CLIP's ViT-B/32 (Radford et al., 2021)",
           clip_vit(768, 32, 12, 12, true)},
          {"vit_base_patch16_clip_quickgelu_224", "CLIP's ViT-B/16 (Radford et al., 2021)",
           clip_vit(768, 16, 12, 12, true)},
          {"vit_large_patch14_clip_quickgelu_224", "CLIP's ViT-L/14 (Radford et al., 2021)",
           clip_vit(1024, 14, 24, 16, true)},
          {"vit_small_patch14_dinov2", "DINOv2's ViT-S/14 (Oquab et al., 2023)", dinov2_vit(384, 12, 6, 0)},
          {"vit_base_patch14_dinov2", "DINOv2's ViT-B/14 (Oquab et al., 2023)", dinov2_vit(768, 12, 12, 0)},
          {"vit_large_patch14_dinov2", "DINOv2's ViT-L/14 (Oquab et al., 2023)", dinov2_vit(1024, 24, 16, 0)},
          {"vit_small_patch14_reg4_dinov2", "the same with four registers (Darcet et al., 2024)",
           dinov2_vit(384, 12, 6, 4)},
          {"vit_base_patch14_reg4_dinov2", "the same with four registers (Darcet et al., 2024)",
           dinov2_vit(768, 12, 12, 4)},
          {"vit_large_patch14_reg4_dinov2", "the same with four registers (Darcet et al., 2024)",
           dinov2_vit(1024, 24, 16, 4)},
          {"vit_base_patch16_blip_384", "BLIP's ViT-B/16 (Li et al., 2022)", blip_vit(768, 12, 12)},
          {"vit_large_patch16_blip_384", "BLIP's ViT-L/16 (Li et al., 2022)", blip_vit(1024, 24, 16)},
      });
  return registry;
}

std::shared_ptr<Backbone> make_backbone(const BackboneConfig& config) {
  const BackboneEntry& entry = backbones().at(config.name);
  check("the number of input channels", config.in_channels, 1, 1024);
  check("the image size", config.image_size, 1, 65536);
  check("the number of outputs", config.outputs, 1, 1'000'000);
  check("the width", config.width, 0, largest_width);
  check("the depth", config.depth, 0, largest_depth);
  BackboneConfig resolved = config;
  if (resolved.width == 0) resolved.width = entry.default_width;
  std::shared_ptr<Backbone> backbone = entry.make(resolved);
  backbone->entry_ = &entry;
  backbone->normalises_ = config.normalise;
  const auto for_channels = [&](const std::array<double, 3>& rgb) {
    std::vector<double> values(rgb.begin(), rgb.end());
    // Images that are not RGB: every channel gets the average.
    if (config.in_channels != 3)
      values.assign(static_cast<std::size_t>(config.in_channels), (rgb[0] + rgb[1] + rgb[2]) / 3);
    return torch::tensor(values, torch::kDouble).reshape({-1, 1, 1});
  };
  backbone->mean_ = for_channels(config.normalise ? entry.input.mean : std::array<double, 3>{0, 0, 0});
  backbone->std_ = for_channels(config.normalise ? entry.input.std : std::array<double, 3>{1, 1, 1});
  return backbone;
}

void Backbone::fit_to_image_size(TensorList& /*weights*/) const {}

namespace {

std::vector<double> values_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.flatten().cpu();
  const double* values = flat.data_ptr<double>();
  return {values, values + flat.numel()};
}

}  // namespace

std::vector<double> Backbone::mean() const { return values_of(mean_); }
std::vector<double> Backbone::std() const { return values_of(std_); }

torch::Tensor Backbone::normalised(const torch::Tensor& x) {
  if (!normalises_) return x;
  if (mean_.device() != x.device()) {
    mean_ = mean_.to(x.device());
    std_ = std_.to(x.device());
  }
  return (x - mean_.to(x.scalar_type())) / std_.to(x.scalar_type());
}

}  // namespace mcci
