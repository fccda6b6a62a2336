#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/nn/weights.hpp"
#include "mcci/state/module_state.hpp"
#include "tests/nn/support.hpp"

namespace mcci {
namespace {

// What the library that publishes such weights computed with them (tests/parity/make_backbone_fixtures.py).
struct ParityCase {
  std::string fixture;
  BackboneConfig config;
  std::string layout;
  std::string prefix;
};

std::ostream& operator<<(std::ostream& out, const ParityCase& test) { return out << test.fixture; }

TensorFile fixture_of(const ParityCase& test) {
  return load_safetensors(std::string(MCCI_FIXTURES "/backbone_") + test.fixture + ".safetensors");
}

class BackboneParity : public testing::TestWithParam<ParityCase> {
 protected:
  BackboneParity()
      : file_(fixture_of(GetParam())),
        tensors_(file_.tensors.begin(), file_.tensors.end()),
        weights_(with_prefix_removed(file_.tensors, "weights")) {}

  at::Tensor input(const std::string& name = "input") const { return tensors_.at(name).to(at::kFloat); }

  TensorFile file_;
  std::map<std::string, at::Tensor> tensors_;
  TensorList weights_;
};

TEST_P(BackboneParity, LayoutIsRecognised) {
  const std::optional<FoundLayout> found = recognise_layout(weights_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->layout->name, GetParam().layout);
  EXPECT_EQ(found->prefix, GetParam().prefix);
  for (const std::string wrapper : {"module.", "state_dict.model."}) {
    TensorList wrapped = weights_;
    for (auto& [name, tensor] : wrapped) name = wrapper + name;
    const std::optional<FoundLayout> again = recognise_layout(wrapped);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->layout, found->layout);
    EXPECT_EQ(again->prefix, wrapper + found->prefix);
  }
}

TEST_P(BackboneParity, LogitsAndGradientsAreThose) {
  const auto net = make_backbone(GetParam().config);
  EXPECT_TRUE(load_weights(*net, weights_, "fixture").head);
  net->eval();
  const at::Tensor logits = net->forward(input());
  at::cross_entropy_loss(logits, tensors_.at("labels")).backward();
  EXPECT_LT(relative_error(logits, tensors_.at("logits")), 1e-4);
  std::size_t compared = 0;
  for (const auto& [name, gradient] : with_prefix_removed(file_.tensors, "grad")) {
    EXPECT_LT(relative_error(net->named_parameters()[name].grad().flatten(), gradient.flatten()), 1e-3)
        << name;
    ++compared;
  }
  EXPECT_GT(compared, 0U);
}

// Equal keys and tensors, but for what the network has no use for.
TEST_P(BackboneParity, ComesBackInItsLayout) {
  const auto net = make_backbone(GetParam().config);
  const LoadedWeights loaded = load_weights(*net, weights_, "fixture");
  const TensorList back = weights_of(*net, loaded.found);
  std::map<std::string, at::Tensor> given(weights_.begin(), weights_.end());
  for (const auto& [name, tensor] : back) {
    ASSERT_EQ(given.count(name), 1U) << name;
    EXPECT_TRUE(at::equal(tensor, given.at(name).to(tensor.scalar_type()))) << name;
    given.erase(name);
  }
  for (const auto& [name, tensor] : given) {
    EXPECT_THAT(name, testing::AnyOf(testing::HasSubstr("mask_token"), testing::HasSubstr("position_ids"),
                                     testing::StartsWith("transformer."), testing::Eq("logit_scale")));
  }
}

TEST_P(BackboneParity, AnotherHeadIsLeftOut) {
  BackboneConfig config = GetParam().config;
  config.outputs = 7;
  const auto net = make_backbone(config);
  const at::Tensor before = net->named_parameters()[net->head_name() + ".weight"].clone();
  const LoadedWeights loaded = load_weights(*net, weights_, "fixture");
  EXPECT_FALSE(loaded.head);
  EXPECT_TRUE(at::equal(net->named_parameters()[net->head_name() + ".weight"], before));
  net->eval();
  const auto whole = make_backbone(GetParam().config);
  load_weights(*whole, weights_, "fixture");
  whole->eval();
  EXPECT_TRUE(at::equal(net->features(input()), whole->features(input())));
  // The new head goes to the file too, and comes back.
  const auto again = make_backbone(config);
  EXPECT_TRUE(load_weights(*again, weights_of(*net, loaded.found), "new").head);
  again->eval();
  EXPECT_TRUE(at::equal(again->forward(input()), net->forward(input())));
}

ParityCase parity(const std::string& fixture, BackboneConfig config, const std::string& layout,
                  const std::string& prefix = "") {
  return {fixture, std::move(config), layout, prefix};
}

INSTANTIATE_TEST_SUITE_P(
    Published, BackboneParity,
    testing::Values(
        parity("vit_timm", tiny("vit_tiny_patch16_224", 24, 2, 48), "timm"),
        parity("vit_torchvision", tiny("vit_tiny_patch16_224", 24, 2, 48), "torchvision"),
        parity("vit_transformers", tiny("vit_tiny_patch16_224", 24, 2, 48), "transformers"),
        parity("clip_openclip", tiny("vit_base_patch16_clip_quickgelu_224", 24, 2, 48), "openclip",
               "visual."),
        parity("clip_transformers", tiny("vit_base_patch32_clip_224", 24, 2, 64), "transformers-clip"),
        parity("dinov2_timm", tiny("vit_small_patch14_reg4_dinov2", 24, 2, 42), "timm-registers"),
        parity("dinov2_own", tiny("vit_small_patch14_reg4_dinov2", 24, 2, 42), "dinov2"),
        parity("dinov2_transformers", tiny("vit_small_patch14_dinov2", 24, 2, 42), "transformers-dinov2"),
        parity("blip_transformers", tiny("vit_base_patch16_blip_384", 24, 2, 48), "transformers-blip",
               "vision_model."),
        parity("resnet_transformers", tiny("resnet50", 4, 2, 70), "transformers"),
        parity("efficientnet_timm", tiny("tf_efficientnet_b0", 4, 0, 45), "timm"),
        parity("efficientnet_torchvision", tiny("efficientnet_b0", 4, 0, 45), "torchvision"),
        parity("efficientnet_lite_pytorch", tiny("tf_efficientnet_lite0", 4, 0, 45), "efficientnet_pytorch"),
        parity("convnext_timm", tiny("convnext_tiny", 8, 1, 64), "timm"),
        parity("convnext_torchvision", tiny("convnext_tiny", 8, 1, 64), "torchvision"),
        parity("convnext_transformers", tiny("convnext_tiny", 8, 1, 64), "transformers")),
    [](const auto& test) { return test.param.fixture; });

class OtherSizes : public BackboneParity {};

TEST_P(OtherSizes, GetTheirPositionsInterpolated) {
  const auto net = make_backbone(GetParam().config);
  load_weights(*net, weights_, "fixture");
  net->eval();
  for (const std::string name : {"larger", "smaller", "oblong", "padded"}) {
    EXPECT_LT(relative_error(net->forward(input(name + ".input")), tensors_.at(name + ".logits")), 1e-4)
        << name;
  }
  // A network that is made for the other size gets positions of its size at loading.
  for (const std::string name : {"larger", "smaller"}) {
    BackboneConfig config = GetParam().config;
    config.image_size = input(name + ".input").size(3);
    const auto other = make_backbone(config);
    EXPECT_TRUE(load_weights(*other, weights_, "fixture").head);
    other->eval();
    EXPECT_LT(relative_error(other->forward(input(name + ".input")), tensors_.at(name + ".logits")), 1e-4)
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Timm, OtherSizes,
                         testing::Values(parity("vit_timm", tiny("vit_tiny_patch16_224", 24, 2, 48),
                                                "timm")));

}  // namespace
}  // namespace mcci
