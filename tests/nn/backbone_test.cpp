#include "mcci/nn/backbone.hpp"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"
#include "mcci/nn/feature_map.hpp"
#include "mcci/nn/weights.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/state/module_state.hpp"
#include "tests/nn/support.hpp"

namespace mcci {
namespace {

// Each backbone of the registry, small.
class EveryBackbone : public testing::TestWithParam<std::string> {
 protected:
  BackboneConfig config() const { return tiny_of(GetParam()); }
  at::Tensor images() const { return at::rand({2, 3, config().image_size, config().image_size}); }
};

TEST_P(EveryBackbone, HeadIsTheLastLinearLayer) {
  const auto net = make_backbone(config());
  const auto parameters = net->named_parameters();
  const at::Tensor weight = parameters[net->head_name() + ".weight"];
  EXPECT_EQ(weight.size(0), 10);
  EXPECT_TRUE(net->is_training());
  net->eval();
  const at::Tensor x = images();
  const at::Tensor features = net->features(x);
  EXPECT_LT(
      relative_error(net->forward(x), at::linear(features, weight, parameters[net->head_name() + ".bias"])),
      1e-5);
}

TEST_P(EveryBackbone, FeaturesAreTheMeanOfTheirMap) {
  BackboneConfig normalising = config();
  normalising.normalise = true;
  const auto net = make_backbone(normalising);
  net->eval();
  const at::Tensor x = images();
  if (net->entry().layouts->name == "ViT") {
    EXPECT_THROW(last_feature_map(*net, x), Error);
    return;
  }
  const at::Tensor map = last_feature_map(*net, x);
  ASSERT_EQ(map.dim(), 4);
  at::Tensor mean = map.mean({2, 3});
  // ConvNeXt norms it, which its weights, still those of the start, do not change further.
  if (net->entry().layouts->name == "ConvNeXt") mean = at::layer_norm(mean, {mean.size(1)}, {}, {}, 1e-6);
  EXPECT_LT(relative_error(mean, net->features(x)), 1e-4);
}

TEST_P(EveryBackbone, CopiesWithItsWeights) {
  const auto net = make_backbone(config());
  const auto copy = copy_of(*net, config());
  EXPECT_FALSE(copy->is_training());
  net->eval();
  const at::Tensor x = images();
  const at::Tensor before = net->forward(x);
  EXPECT_TRUE(copy->forward(x).equal(before));
  {
    const at::NoGradGuard no_grad;
    for (at::Tensor& parameter : net->parameters()) parameter.zero_();
  }
  EXPECT_TRUE(copy->forward(x).equal(before)) << "nothing is shared";
}

// As a defense runs it: parameters and images placed, forward under autocast, the loss outside.
TEST_P(EveryBackbone, RunsUnderTheRunsCompute) {
  at::manual_seed(1);
  const auto net = make_backbone(config());
  net->eval();
  const at::Tensor x = images();
  const at::Tensor expected = net->forward(x).detach();
  for (const bool bf16 : {false, true}) {
    Compute compute;
    compute.bf16 = bf16;
    place(*net, compute);
    net->zero_grad();
    at::Tensor logits;
    {
      const Autocast autocast(compute);
      logits = net->forward(place(x, compute)).to(at::kFloat);
    }
    EXPECT_LT(relative_error(logits, expected), bf16 ? 0.1 : 1e-4);
    at::cross_entropy_loss(logits, at::arange(2)).backward();
    for (const auto& parameter : net->named_parameters()) {
      ASSERT_TRUE(parameter.value().grad().defined()) << parameter.key();
      EXPECT_EQ(parameter.value().grad().scalar_type(), at::kFloat) << parameter.key();
      EXPECT_TRUE(parameter.value().grad().isfinite().all().item<bool>()) << parameter.key();
    }
  }
}

TEST_P(EveryBackbone, NormalisesAsItsPublishedWeightsExpect) {
  BackboneConfig normalising = config();
  normalising.normalise = true;
  const auto net = make_backbone(normalising);
  const auto plain = make_backbone(config());
  load_module_state(*plain, module_state(*net), "the other");
  net->eval();
  plain->eval();
  const InputConvention& input = backbones().at(GetParam()).input;
  const at::Tensor x = images();
  at::Tensor normalised = x.clone();
  for (std::size_t c = 0; c < 3; ++c) {
    at::Tensor plane = normalised.select(1, static_cast<std::int64_t>(c));
    plane.sub_(input.mean.at(c)).div_(input.std.at(c));
  }
  EXPECT_LT(relative_error(net->forward(x), plain->forward(normalised)), 1e-4);
  EXPECT_EQ(net->mean(), std::vector<double>(input.mean.begin(), input.mean.end()));
  EXPECT_EQ(net->std(), std::vector<double>(input.std.begin(), input.std.end()));
  EXPECT_EQ(plain->mean(), std::vector<double>(3, 0.0));
  EXPECT_EQ(plain->std(), std::vector<double>(3, 1.0));
}

TEST_P(EveryBackbone, TakesOneChannel) {
  BackboneConfig grey = config();
  grey.in_channels = 1;
  grey.normalise = true;
  const auto net = make_backbone(grey);
  net->eval();
  EXPECT_EQ(net->forward(images().narrow(1, 0, 1)).sizes(), at::IntArrayRef({2, 10}));
}

TEST_P(EveryBackbone, HeadIsTheDeepest) {
  const auto net = make_backbone(config());
  const std::int64_t deepest = net->depth_of(net->head_name() + ".weight");
  std::set<std::int64_t> depths;
  for (const auto& [name, tensor] : module_state(*net)) depths.insert(net->depth_of(name));
  EXPECT_EQ(*depths.begin(), 0);
  EXPECT_EQ(*depths.rbegin(), deepest);
  EXPECT_EQ(depths.size(), static_cast<std::size_t>(deepest) + 1) << "every depth between is there";
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryBackbone, testing::ValuesIn(backbones().names()),
                         [](const auto& test) { return test.param; });

TEST(Backbones, DepthCountsBlocksFromTheStemToTheHead) {
  struct Case {
    std::string backbone, name;
    std::int64_t depth;
  };
  const std::vector<Case> cases = {{"vit_tiny_patch16_224", "pos_embed", 0},
                                   {"vit_tiny_patch16_224", "patch_embed.proj.weight", 0},
                                   {"vit_tiny_patch16_224", "blocks.0.norm1.weight", 1},
                                   {"vit_tiny_patch16_224", "blocks.11.mlp.fc2.bias", 12},
                                   {"vit_tiny_patch16_224", "norm.weight", 13},
                                   {"vit_tiny_patch16_224", "head.weight", 13},
                                   {"vit_base_patch16_clip_224", "norm_pre.weight", 0},
                                   {"efficientnet_b0", "bn1.bias", 0},
                                   {"efficientnet_b0", "blocks.0.0.bn1.bias", 1},
                                   {"efficientnet_b0", "blocks.2.1.conv_dw.weight", 5},
                                   {"efficientnet_b0", "conv_head.weight", 17},
                                   {"efficientnet_b0", "classifier.bias", 18},
                                   {"convnext_tiny", "stem.1.weight", 0},
                                   {"convnext_tiny", "stages.1.downsample.0.weight", 4},
                                   {"convnext_tiny", "stages.2.blocks.8.gamma", 15},
                                   {"convnext_tiny", "head.norm.weight", 19}};
  for (const Case& c : cases) {
    BackboneConfig config = tiny_of(c.backbone);
    config.depth = 0;
    EXPECT_EQ(make_backbone(config)->depth_of(c.name), c.depth) << c.backbone << " " << c.name;
  }
}

}  // namespace
}  // namespace mcci
