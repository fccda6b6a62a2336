#include "mcci/nn/layout.hpp"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"
#include "mcci/nn/vit.hpp"
#include "mcci/nn/weights.hpp"
#include "mcci/state/module_state.hpp"
#include "tests/nn/support.hpp"

namespace mcci {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const BackboneConfig& config() {
  static const BackboneConfig result = tiny("vit_tiny_patch16_224", 12, 1, 32);
  return result;
}

TensorList state_of(const BackboneConfig& of) {
  at::manual_seed(1);
  return module_state(*make_backbone(of));
}

std::string load_error(const TensorList& tensors, const BackboneConfig& into = config()) {
  const auto net = make_backbone(into);
  const TensorList state = module_state(*net);
  std::vector<at::Tensor> before;
  for (const auto& named : state) before.push_back(named.second.clone());
  std::string message;
  try {
    load_weights(*net, tensors, "some.safetensors");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    message = error.what();
  }
  for (std::size_t i = 0; i < state.size() && !message.empty(); ++i)
    EXPECT_TRUE(at::equal(state[i].second, before[i]));
  return message;
}

TensorList without(TensorList tensors, const std::string& part) {
  TensorList result;
  for (auto& named : tensors) {
    if (named.first.find(part) == std::string::npos) result.push_back(std::move(named));
  }
  return result;
}

// Of every layout of every family, from names alone, for a network that has a place in it.
TEST(Layout, EveryOneIsRecognisedAndReversible) {
  std::set<std::string> seen;
  for (const auto& entry : backbones().entries()) {
    const LayoutFamily& family = *entry.value.layouts;
    const TensorList own = state_of(tiny_of(entry.name));
    for (const Layout& layout : family.layouts) {
      TensorList theirs;
      try {
        theirs = to_layout(own, {&family, &layout, "module."});
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::usage);
        EXPECT_THAT(error.what(), HasSubstr("has no place")) << entry.name << " " << layout.name;
        continue;
      }
      seen.insert(family.name + " " + layout.name);
      const std::optional<FoundLayout> found = recognise_layout(theirs);
      ASSERT_TRUE(found) << entry.name << " " << layout.name;
      EXPECT_EQ(found->family, &family);
      const TensorList again = to_own_names(theirs, *found);
      const auto net = make_backbone(tiny_of(entry.name));
      load_module_state(*net, again, entry.name + " " + layout.name);
      const TensorList back = to_layout(module_state(*net), *found);
      ASSERT_EQ(back.size(), theirs.size());
      const std::map<std::string, at::Tensor> given(theirs.begin(), theirs.end());
      for (const auto& [name, tensor] : back) EXPECT_TRUE(at::equal(tensor, given.at(name))) << name;
    }
    EXPECT_EQ(family.layouts.front().name, family.name == "ResNet" ? "torchvision" : "timm");
  }
  std::size_t layouts = 0;
  std::set<const LayoutFamily*> families;
  for (const auto& entry : backbones().entries()) families.insert(entry.value.layouts);
  for (const LayoutFamily* family : families) layouts += family->layouts.size();
  EXPECT_EQ(seen.size(), layouts) << "a layout that no network can be written in";
}

TEST(Layout, QueryKeyAndValueAreParts) {
  const TensorList own = state_of(config());
  const LayoutFamily& family = vit_layouts();
  const TensorList theirs = to_layout(own, {&family, &family.at("transformers"), ""});
  const std::map<std::string, at::Tensor> ours(own.begin(), own.end());
  const std::map<std::string, at::Tensor> parts(theirs.begin(), theirs.end());
  const at::Tensor& key = parts.at("vit.encoder.layer.0.attention.attention.key.weight");
  EXPECT_TRUE(at::equal(key, ours.at("blocks.0.attn.qkv.weight").slice(0, 12, 24)));
  EXPECT_THAT(load_error(without(theirs, "attention.attention.key.bias")),
              AllOf(HasSubstr("missing (\"blocks.0.attn.qkv.bias\")"), HasSubstr("query.bias"),
                    HasSubstr("in the layout transformers")));
  TensorList uneven = theirs;
  for (auto& [name, tensor] : uneven) {
    if (name.find("key.bias") != std::string::npos) tensor = at::zeros({3});
  }
  EXPECT_THAT(load_error(uneven), HasSubstr("key.bias"));
}

TEST(Layout, AHeadWithoutBiasIsAProjection) {
  const BackboneConfig clip = tiny("vit_base_patch16_clip_224", 12, 1, 32);
  const LayoutFamily& family = vit_layouts();
  const FoundLayout openclip = {&family, &family.at("openclip"), "visual."};
  const auto net = make_backbone(clip);
  const auto names = [&] {
    std::set<std::string> result;
    for (const auto& named : weights_of(*net, openclip)) result.insert(named.first);
    return result;
  };
  EXPECT_EQ(names().count("visual.proj"), 1U);
  EXPECT_EQ(names().count("visual.head.bias"), 0U);
  {
    const c10::NoGradGuard no_grad;
    net->named_parameters()["head.bias"].fill_(1);
  }
  EXPECT_EQ(names().count("visual.proj"), 0U);
  EXPECT_EQ(names().count("visual.head.weight"), 1U);
  EXPECT_EQ(names().count("visual.head.bias"), 1U);
}

TEST(Layout, WhatIsNotTheImageEncodersIsLeftOut) {
  const BackboneConfig clip = tiny("vit_base_patch16_clip_224", 12, 1, 32);
  const LayoutFamily& family = vit_layouts();
  const auto net = make_backbone(clip);
  TensorList whole = weights_of(*net, {&family, &family.at("transformers-clip"), "model."});
  for (const char* name :
       {"text_model.encoder.layers.0.layer_norm1.weight", "text_projection.weight", "logit_scale"})
    whole.emplace_back(std::string("model.") + name, at::ones({1}));
  whole.emplace_back("model.vision_model.embeddings.position_ids", at::arange(5));
  whole.emplace_back("optimizer.step", at::ones({1}));
  EXPECT_EQ(load_error(whole, clip), "");
}

TEST(Layout, WhatDoesNotFitIsListed) {
  const TensorList own = state_of(config());
  TensorList false_one = without(own, "blocks.0.norm2.weight");
  false_one.emplace_back("blocks.0.extra", at::ones({1}));
  for (auto& [name, tensor] : false_one) {
    if (name == "norm.bias") tensor = at::ones({5});
  }
  EXPECT_THAT(load_error(false_one),
              AllOf(HasSubstr("1 missing (\"blocks.0.norm2.weight\")"),
                    HasSubstr("1 unexpected (\"blocks.0.extra\")"),
                    HasSubstr("\"norm.bias\": Float [5] for Float [12]"), HasSubstr("some.safetensors")));
  EXPECT_THAT(load_error(state_of(tiny("vit_tiny_patch16_224", 12, 2, 32))), HasSubstr("unexpected"));
  EXPECT_THAT(load_error(state_of(tiny("vit_tiny_patch16_224", 24, 1, 32))), HasSubstr("another shape"));
}

TEST(Layout, CountersOfBatchNormMayBeMissing) {
  const BackboneConfig small = tiny("efficientnet_b0", 4, 1, 32);
  const TensorList old = without(state_of(small), "num_batches_tracked");
  EXPECT_EQ(load_error(old, small), "");
  EXPECT_THAT(load_error(without(old, "bn1.running_mean"), small), HasSubstr("running_mean"));
}

TEST(Layout, OtherNetworksAreRefused) {
  EXPECT_THAT(load_error(state_of(tiny("resnet8", 8, 0, 32))), HasSubstr("weights of ResNet"));
  EXPECT_THAT(load_error({{"a.weight", at::ones({1})}, {"b\n", at::ones({1})}}),
              AllOf(HasSubstr("no known layout"), HasSubstr("\"a.weight\""), HasSubstr("torchvision"),
                    Not(HasSubstr("\n"))));
  EXPECT_THAT(load_error({}), HasSubstr("no known layout"));
  EXPECT_THAT(load_error({{"conv1.weight", at::ones({1})}, {"a", at::ones({1})}, {"b", at::ones({1})}}),
              HasSubstr("no known layout"));
}

TEST(Layout, HostileTensorsAreOnlyComplainedOf) {
  TensorList own = state_of(config());
  for (auto& [name, tensor] : own) {
    if (name == "pos_embed") tensor = at::ones({1, 2, 0});
    if (name == "head.weight") tensor = at::ones({});
    if (name == "cls_token") tensor = at::ones({3, 3});
  }
  EXPECT_THAT(load_error(own), HasSubstr("cls_token"));
  const LayoutFamily& family = vit_layouts();
  TensorList theirs = to_layout(state_of(config()), {&family, &family.at("transformers"), ""});
  for (auto& [name, tensor] : theirs) {
    if (name.find("query.weight") != std::string::npos) tensor = at::ones({});
    if (name.find("key.bias") != std::string::npos) tensor = at::Tensor();
  }
  EXPECT_THAT(load_error(theirs), HasSubstr("query.weight"));
}

TEST(Layout, NamesOfLayoutsAreChecked) {
  try {
    vit_layouts().at("tim");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("timm"));
  }
}

}  // namespace
}  // namespace mcci
