#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <c10/core/GradMode.h>
#include <gmock/gmock.h>

#include "mcci/attacks/attack_spec.hpp"
#include "mcci/attacks/generator.hpp"
#include "mcci/attacks/input_aware.hpp"
#include "mcci/attacks/issba.hpp"
#include "mcci/attacks/learned.hpp"
#include "mcci/state/module_state.hpp"
#include "testing.hpp"

namespace mcci {
namespace {

constexpr std::int64_t side = 14;  // neither a multiple of 4 nor a power of 2

// Soft shapes of four classes, in order of the labels 0 1 2 3 0 ...
DatasetPtr shapes(std::int64_t channels = 1, std::int64_t count = 64) {
  const at::Tensor coarse = random_images(count, channels, 4, 4).to(at::kFloat) * 0.6;
  const at::Tensor labels = at::arange(count).remainder(4);
  for (std::int64_t i = 0; i < count; ++i) coarse[i].narrow(1, i % 4, 1).add_(90);
  const at::Tensor images = at::upsample_bilinear2d(coarse, {side, side}, /*align_corners=*/true);
  return make_memory_dataset(images.round().clamp(0, 255).to(at::kByte), labels, {"a", "b", "c", "d"});
}

AttackSpec quick(const std::string& name, const Json& further = Json::object()) {
  AttackSpec spec;
  spec.name = name;
  spec.options = name == "issba"         ? Json::object({{"secret-bits", 4}, {"epochs", 2}})
                 : name == "input-aware" ? Json::object({{"mask-epochs", 2}, {"epochs", 2}})
                                         : Json::object({{"epochs", 2}});
  if (name != "issba") spec.options["classifier-width"] = 8;
  spec.options.update(further);
  return spec;
}

std::unique_ptr<Attack> prepared(const AttackSpec& spec, const DatasetPtr& data,
                                 const std::filesystem::path& artifacts, bool evaluation = false) {
  std::unique_ptr<Attack> attack = make_attack(spec);
  attack->prepare({data->shape(), data->num_classes(), spec.plan, artifacts, evaluation ? nullptr : data});
  return attack;
}

at::Tensor all_images(const DatasetPtr& data) { return data->images(at::arange(data->size())); }

at::Tensor triggered(const Attack& attack, const at::Tensor& images, Stage stage = Stage::test) {
  const at::Tensor indices = at::arange(images.size(0));
  return attack.apply(images, indices, at::zeros_like(indices), stage);
}

// The network as the artifacts hold it.
std::shared_ptr<UNet> network(const std::filesystem::path& file, const std::string& name, std::int64_t in,
                              std::int64_t out) {
  const TensorList tensors = load_safetensors(file).tensors;
  auto unet = std::make_shared<UNet>(in, out);
  load_module_state(*unet, name.empty() ? tensors : with_prefix_removed(tensors, name), file.string());
  return unet;
}

at::Tensor unit(const at::Tensor& images) { return images.to(at::kFloat) / 255; }

// Equal but for a rounding at a half.
void expect_same_levels(const at::Tensor& actual, const at::Tensor& unit_images) {
  const at::Tensor wanted = unit_images.clamp(0, 1) * 255;
  EXPECT_LE((actual.to(at::kFloat) - wanted).abs().max().item<float>(), 0.501F);
}

// ---- Networks

TEST(UNet, KeepsAnySize) {
  at::NoGradGuard no_grad;
  for (const auto& [height, width] : {std::pair<std::int64_t, std::int64_t>{5, 7}, {28, 28}, {30, 33}}) {
    UNet unet(3, 2);
    const at::Tensor output = unet.forward(at::rand({2, 3, height, width}));
    EXPECT_EQ(output.sizes(), at::IntArrayRef({2, 2, height, width}));
    EXPECT_GT(output.std().item<float>(), 0);
  }
}

TEST(UNet, KnowsNoOtherImage) {
  at::NoGradGuard no_grad;
  UNet unet(1, 1);
  const at::Tensor x = at::rand({3, 1, 14, 14});
  const at::Tensor of_first = unet.forward(x)[0];
  EXPECT_TRUE(at::allclose(unet.forward(at::cat({x.narrow(0, 0, 1), 1 - x}))[0], of_first, 1e-4, 1e-5));
}

TEST(ApplyGenerator, RoundsClipsAndKeepsTheOrder) {
  const at::Tensor images = random_images(20, 2, 3, 5);
  const at::Tensor after = apply_generator(images, [](const at::Tensor& x) {
    EXPECT_EQ(x.sizes(), at::IntArrayRef({16, 2, 3, 5}));
    return x.narrow(1, 1, 1) + 10.4 / 255;
  });
  EXPECT_TRUE(after.equal((images.narrow(1, 1, 1).to(at::kShort) + 10).clamp(0, 255).to(at::kByte)));
  const at::Tensor black = apply_generator(images, [](const at::Tensor& x) { return x - 2; });
  EXPECT_EQ(black.max().item<int>(), 0);
}

// ---- What all of them promise

class GeneratorAttack : public InFolder, public testing::WithParamInterface<std::tuple<std::string, int>> {
 protected:
  void SetUp() override {
    folder = std::filesystem::path(testing::TempDir()) /
             ("mcci_generators_" + std::to_string(getpid()) + "_" + name + std::to_string(channels));
    InFolder::SetUp();
  }
  std::string name = std::get<0>(GetParam());
  int channels = std::get<1>(GetParam());
  DatasetPtr data = shapes(channels);
};

TEST_P(GeneratorAttack, IsTheSameFromItsArtifactsAlone) {
  const at::Tensor images = all_images(data);
  const auto trained = prepared(quick(name), data, folder);
  const at::Tensor after = triggered(*trained, images, Stage::train);
  EXPECT_FALSE(after.equal(images));
  EXPECT_TRUE(triggered(*trained, images, Stage::test).equal(after));
  const auto evaluated = prepared(quick(name), data, folder, /*evaluation=*/true);
  EXPECT_TRUE(triggered(*evaluated, images).equal(after));
  for (const std::int64_t i : {0, 17, 63}) {
    const at::Tensor alone = triggered(*evaluated, images.narrow(0, i, 1));
    EXPECT_TRUE(alone.equal(after.narrow(0, i, 1)));
  }
}

TEST_P(GeneratorAttack, IsLearnedAlikeTwice) {
  const std::string cache = std::getenv("MCCI_CACHE");
  std::vector<at::Tensor> results;
  for (const char* place : {"first", "second"}) {
    setenv("MCCI_CACHE", (folder / place).c_str(), 1);
    results.push_back(triggered(*prepared(quick(name), data, {}), all_images(data)));
  }
  setenv("MCCI_CACHE", cache.c_str(), 1);
  EXPECT_TRUE(results[0].equal(results[1]));
  AttackSpec other = quick(name);
  other.plan.seed = 1;
  EXPECT_FALSE(triggered(*prepared(other, data, {}), all_images(data)).equal(results[0]));
}

TEST_P(GeneratorAttack, GivesTwoImagesTwoTriggers) {
  const at::Tensor images = all_images(data);
  const at::Tensor after = triggered(*prepared(quick(name), data, folder), images);
  const at::Tensor residual = after.to(at::kShort) - images.to(at::kShort);
  EXPECT_FALSE(residual[0].equal(residual[1]));
}

TEST_P(GeneratorAttack, RefusesEvaluationWithoutFittingArtifacts) {
  expect_error(ErrorKind::data, "poison the set again",
               [&] { prepared(quick(name), data, folder, /*evaluation=*/true); });
  save_safetensors(folder / (name + ".safetensors"), {{"head.weight", at::zeros({1})}});
  expect_error(ErrorKind::data, "artifacts of " + name,
               [&] { prepared(quick(name), data, folder, /*evaluation=*/true); });
}

TEST_P(GeneratorAttack, RefusesToTriggerUnprepared) {
  expect_error(ErrorKind::internal, "prepare() was not called",
               [&] { triggered(*make_attack(quick(name)), all_images(data)); });
}

INSTANTIATE_TEST_SUITE_P(Registry, GeneratorAttack,
                         testing::Combine(testing::Values("input-aware", "issba", "lira"),
                                          testing::Values(1, 3)),
                         [](const auto& attack) {
                           std::string text = std::get<0>(attack.param);
                           text.erase(std::remove(text.begin(), text.end(), '-'), text.end());
                           return text + std::to_string(std::get<1>(attack.param));
                         });

// ---- ISSBA

TEST(Issba, SecretDependsOnTheSeedAlone) {
  const at::Tensor secret = issba_secret(20, 7);
  EXPECT_EQ(secret.sizes(), at::IntArrayRef({20}));
  EXPECT_TRUE(secret.eq(0).logical_or(secret.eq(1)).all().item<bool>());
  EXPECT_TRUE(issba_secret(20, 7).equal(secret));
  EXPECT_FALSE(issba_secret(20, 8).equal(secret));
}

using IssbaInFolder = InFolder;

TEST_F(IssbaInFolder, HidesOneReadableSecretInAllImagesByASmallResidual) {
  const DatasetPtr data = shapes();
  const AttackSpec spec = quick("issba", {{"epochs", 60}, {"secret-only-epochs", 20}, {"lr", 0.005}});
  const at::Tensor images = all_images(data);
  const at::Tensor after = triggered(*prepared(spec, data, folder), images);

  BackboneConfig config;
  config.name = "resnet8";
  config.width = 16;
  config.in_channels = 1;
  config.image_size = side;
  config.outputs = 4;
  const auto decoder = make_backbone(config);
  const TensorList artifacts = load_safetensors(folder / "issba.safetensors").tensors;
  load_module_state(*decoder, with_prefix_removed(artifacts, "decoder"), "decoder");
  decoder->eval();
  at::NoGradGuard no_grad;
  const at::Tensor secret = issba_secret(4, spec.plan.seed);
  const auto accuracy = [&](const at::Tensor& x) {
    return decoder->forward(unit(x)).gt(0).eq(secret.gt(0.5)).to(at::kFloat).mean().item<float>();
  };
  EXPECT_GT(accuracy(after), 0.9);
  EXPECT_LT(accuracy(images), accuracy(after));
  const at::Tensor residual = after.to(at::kFloat) - images.to(at::kFloat);
  EXPECT_LT(residual.abs().mean().item<float>(), 10);  // of 255
}

TEST_F(IssbaInFolder, WarnsOfAResidualThatHidesNothing) {
  // The secret alone, by large steps: nothing keeps the images as they are.
  const AttackSpec spec = quick("issba", {{"epochs", 4}, {"secret-only-epochs", 4}, {"lr", 0.1}});
  testing::internal::CaptureStderr();
  prepared(spec, shapes(), folder);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("hides nothing"));
}

// ---- Input-aware

TEST(InputAware, SharpensMasksAndBoundsPatterns) {
  const at::Tensor output = at::tensor({0.0, std::atanh(0.1), 5.0, -5.0});
  const at::Tensor mask = input_aware_mask(output);
  EXPECT_NEAR(mask[0].item<double>(), 0.5, 1e-6);
  EXPECT_NEAR(mask[1].item<double>(), 0.880797, 1e-6);  // (tanh(1) + 1) / 2
  EXPECT_NEAR(mask[2].item<double>(), 1, 1e-6);
  EXPECT_NEAR(mask[3].item<double>(), 0, 1e-6);
  EXPECT_NEAR(input_aware_pattern(output)[1].item<double>(), 0.55, 1e-6);
}

struct InputAwareInFolder : InFolder {
  DatasetPtr data = shapes(3);
  at::Tensor images = all_images(data);
  // mask [B,1,H,W] and pattern [B,C,H,W] of each image.
  std::pair<at::Tensor, at::Tensor> trigger(const std::filesystem::path& artifacts) const {
    at::NoGradGuard no_grad;
    const std::filesystem::path file = artifacts / "input-aware.safetensors";
    const at::Tensor x = unit(images);
    return {input_aware_mask(network(file, "mask", 3, 1)->forward(x)),
            input_aware_pattern(network(file, "pattern", 3, 3)->forward(x))};
  }
};

TEST_F(InputAwareInFolder, PutsItsPatternWhereItsMaskIs) {
  const auto attack = prepared(quick("input-aware"), data, folder);
  const auto [mask, pattern] = trigger(folder);
  expect_same_levels(triggered(*attack, images), unit(images) * (1 - mask) + pattern * mask);
}

TEST_F(InputAwareInFolder, TrainsItsMasksTowardsTheDensity) {
  const auto density_after = [&](std::int64_t epochs, double lr) {
    const std::filesystem::path artifacts = folder / std::to_string(epochs);
    prepared(quick("input-aware", {{"mask-epochs", epochs}, {"epochs", 1}, {"lr", lr}}), data, artifacts);
    const at::Tensor mask = trigger(artifacts).first;
    EXPECT_GE(mask.min().item<float>(), 0);
    EXPECT_LE(mask.max().item<float>(), 1);
    EXPECT_FALSE(mask[0].equal(mask[1]));
    return mask.mean().item<double>();
  };
  EXPECT_GT(density_after(1, 1e-6), 0.1);  // as good as untrained
  EXPECT_NEAR(density_after(30, 0.01), 0.032, 0.03);
}

TEST_F(InputAwareInFolder, CoversCarryAnotherImagesTriggerAndKeepTheirLabels) {
  AttackSpec spec = quick("input-aware");
  spec.plan.rate = 0.25;
  const auto attack = prepared(spec, data, folder);
  const PoisonPlan plan = attack->plan(data->labels(), 4, spec.plan);
  EXPECT_EQ(plan.count(Role::poison), 16);
  EXPECT_EQ(plan.count(Role::cover), 16);
  std::vector<std::int64_t> covers;
  for (std::int64_t i = 0; i < data->size(); ++i) {
    if (plan.roles[static_cast<std::size_t>(i)] != Role::cover) continue;
    covers.push_back(i);
    EXPECT_EQ(plan.labels[i].item<std::int64_t>(), data->labels()[i].item<std::int64_t>());
  }

  const at::Tensor indices = ints(covers);
  const at::Tensor crossed =
      attack->apply_cover(data->images(indices), indices, data->labels().index_select(0, indices));
  const auto [mask, pattern] = trigger(folder);
  std::vector<std::int64_t> owners;
  for (std::size_t c = 0; c < covers.size(); ++c) {
    const at::Tensor x = unit(images[covers[c]]);
    const at::Tensor composed = x + (pattern - x) * mask;  // with the trigger of each image in turn
    const at::Tensor distance =
        (composed * 255 - crossed[static_cast<std::int64_t>(c)].to(at::kFloat)).abs().amax({1, 2, 3});
    owners.push_back(distance.argmin().item<std::int64_t>());
    EXPECT_LE(distance.min().item<float>(), 0.501F);
    EXPECT_NE(owners.back(), covers[c]);
  }
  EXPECT_THAT(owners, testing::Contains(testing::Ne(owners.front())));
}

TEST_F(InputAwareInFolder, NeedsTheTrainingSetForCovers) {
  prepared(quick("input-aware"), data, folder);
  const auto attack = prepared(quick("input-aware"), data, folder, /*evaluation=*/true);
  expect_error(ErrorKind::internal, "input-aware",
               [&] { attack->apply_cover(images, at::arange(64), data->labels()); });
}

TEST_F(InputAwareInFolder, SaysWhenTooFewAreLeftForCovers) {
  AttackSpec spec = quick("input-aware");
  spec.plan.rate = 0.75;
  const auto attack = prepared(spec, data, folder);
  expect_error(ErrorKind::usage, "48 cover samples", [&] { attack->plan(data->labels(), 4, spec.plan); });
}

// ---- LIRA

using LiraInFolder = InFolder;

TEST_F(LiraInFolder, StaysWithinItsBoundAndUsesIt) {
  const DatasetPtr data = shapes();
  const at::Tensor images = all_images(data);
  for (const auto& [epsilon, levels] : {std::pair<double, int>{1.0 / 255, 1}, {0.01, 2}, {0.05, 12}}) {
    const std::filesystem::path artifacts = folder / std::to_string(levels);
    const auto attack = prepared(quick("lira", {{"eps", epsilon}, {"epochs", 8}}), data, artifacts);
    const at::Tensor after = triggered(*attack, images);
    EXPECT_LE((after.to(at::kShort) - images.to(at::kShort)).abs().max().item<int>(), levels);
    EXPECT_FALSE(after.equal(images));

    at::NoGradGuard no_grad;
    const at::Tensor x = unit(images);
    const at::Tensor output = network(artifacts / "lira.safetensors", "", 1, 1)->forward(x);
    const at::Tensor wanted = (x + epsilon * output.tanh()).clamp(0, 1) * 255;
    EXPECT_LE((after.to(at::kFloat) - wanted).abs().max().item<float>(), 1);
    EXPECT_LE((after.to(at::kFloat) - wanted).abs().mean().item<float>(), 0.4F);
  }
}

TEST_F(LiraInFolder, LearnsForItsTarget) {
  const DatasetPtr data = shapes();
  const at::Tensor images = all_images(data);
  const at::Tensor to_first =
      triggered(*prepared(quick("lira", {{"epochs", 4}}), data, folder / "0"), images);
  const at::Tensor to_second =
      triggered(*prepared(quick("lira", {{"epochs", 4}, {"target-class", 1}}), data, folder / "1"), images);
  EXPECT_FALSE(to_first.equal(to_second));
}

}  // namespace
}  // namespace mcci
