// The Victim and the Beneficiary.
#include "mcci/baselines/vb.hpp"

#include <cmath>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"
#include "tests/baselines/testing.hpp"

namespace mcci {
namespace {

using test::PoisonedSet;
using test::Trained;

at::Tensor kept(Defense& defense, const std::string& wanted) {
  for (const auto& [name, tensor] : defense.extra_state()) {
    if (name == wanted) return tensor;
  }
  ADD_FAILURE() << "nothing is kept of " << wanted;
  return {};
}

TEST(Vb, AttentionByHand) {
  // Two features: energies 1 + 0, 0 + 4, 9 + 0 and 5 = 4 + 1; the lowest becomes 0, the highest 1.
  const at::Tensor map = at::tensor({1.F, 0.F, 3.F, 2.F, 0.F, 2.F, 0.F, -1.F}).view({1, 2, 2, 2});
  const at::Tensor same_size = attention_of(map, 2, 2);
  EXPECT_TRUE(at::allclose(same_size, at::tensor({0.F, 3 / 8.F, 1.F, 4 / 8.F}).view({1, 1, 2, 2})));
  const at::Tensor larger = attention_of(map, 8, 8);
  EXPECT_EQ(larger.sizes(), at::IntArrayRef({1, 1, 8, 8}));
  EXPECT_FLOAT_EQ(larger.min().item<float>(), 0);
  EXPECT_FLOAT_EQ(larger.max().item<float>(), 1);
  EXPECT_TRUE(attention_of(at::ones({1, 3, 2, 2}), 4, 4).eq(0).all().item<bool>()) << "looks nowhere";
}

TEST(Vb, MixesByAttentionByHand) {
  // Images of two pixels. The first looks at the left one (its mask) with 0.8 of 0.85 of its attention, the
  // second with 0.25 of 0.5 there, and at both.
  const at::Tensor images = at::tensor({1.F, 2.F, 10.F, 20.F}).view({2, 1, 1, 2});
  const at::Tensor attention = at::tensor({0.8F, 0.05F, 0.25F, 0.25F}).view({2, 1, 1, 2});
  const at::Tensor targets = at::eye(2);
  const AttentionMixture mixed =
      attention_mix(images, attention, targets, at::tensor({1, 0}, at::kLong), 0.1);
  const double own = 0.8 / 0.85;
  const double given = 0.5 / (own + 0.5);
  EXPECT_NEAR(mixed.images[0][0][0][0].item<double>(), 1 * (1 - given) + 10 * given, 1e-5);
  EXPECT_NEAR(mixed.images[0][0][0][1].item<double>(), 2, 1e-5) << "outside of the mask";
  EXPECT_NEAR(mixed.targets[0][1].item<double>(), own * given, 1e-5);
  EXPECT_NEAR(mixed.targets[0][0].item<double>(), 1 - own * given, 1e-5);
  // The second looks at both pixels: all of both attentions, so the mean.
  EXPECT_NEAR(mixed.images[1][0][0][1].item<double>(), 11, 1e-4);
  EXPECT_NEAR(mixed.targets[1][0].item<double>(), 0.5, 1e-5);
}

TEST(Vb, SuppressesWhatTheVictimSeesByHand) {
  // Logits of temperature 3: shares 3/4 and 1/4.
  const at::Tensor logits = at::tensor({3 * std::log(3.F), 0.F, 0.F, 3 * std::log(3.F)}).view({2, 2});
  const at::Tensor left = suppressed(at::tensor({1.F, 0.F, 1.F, 0.F}).view({2, 2}), logits);
  EXPECT_TRUE(at::allclose(left, at::tensor({0.25F, 0.F, 0.75F, 0.F}).view({2, 2})));
}

Json short_options() {
  return {{"epochs", 4}, {"lr", 0.05}, {"victim-every", 2}, {"entropy-threshold", 0.3}, {"victim-lr", 3e-3}};
}

TEST(Vb, TrainsItsNetworksOnTheirSamples) {
  const PoisonedSet set = test::striped(400, 40);
  const Trained vb = test::train_defense(make_vb(), set.data, short_options());
  std::vector<std::string> phases;
  for (const Json& epoch : vb.state.history) phases.push_back(epoch["phase"]);
  EXPECT_THAT(phases, ::testing::ElementsAre("warm-up", "victim", "victim", "beneficiary", "beneficiary",
                                             "beneficiary", "beneficiary"));
  Defense& defense = *vb.defense;
  const at::Tensor entropy = kept(defense, "entropy");
  const at::Tensor share = (entropy - entropy.min()) / (entropy.max() - entropy.min());
  EXPECT_TRUE(at::allclose(test::held_of_samples(defense), 0.3 - share, 1e-4, 1e-5));
  const std::int64_t suspicious = test::held_of_samples(defense).ge(0).sum().item<std::int64_t>();
  EXPECT_EQ(kept(defense, "unlabelled weight").item<double>(), 0.5) << "the last quarter";
  EXPECT_EQ(defense.assumes(), "");

  // The epochs anew, one after another.
  const auto pool = [&](std::int64_t epoch) {
    defense.begin_epoch(2, epoch, set.data);
    return defense.pool(2);
  };
  EXPECT_EQ(defense.pool(1).numel(), suspicious);
  const at::Tensor credible = pool(0);
  EXPECT_EQ(credible.numel(), test::held_of_samples(defense).lt(0).sum().item<std::int64_t>());
  EXPECT_FALSE(pool(1).defined()) << "the victim learns, too";
  EXPECT_EQ(kept(defense, "unlabelled weight").item<double>(), 0);
  EXPECT_FALSE(pool(2).defined());
  EXPECT_EQ(kept(defense, "unlabelled weight").item<double>(), 0.1);
}

TEST(Vb, RemembersPartOfTheLastEntropy) {
  const PoisonedSet set = test::striped(100, 10);
  const Trained vb = test::train_defense(make_vb(), set.data, {{"epochs", 1}, {"entropy-memory", 0.25}});
  Defense& defense = *vb.defense;
  const at::Tensor before = kept(defense, "entropy").clone();
  const at::NoGradGuard no_grad;
  defense.begin_epoch(1, 0, set.data);
  const at::Tensor once = kept(defense, "entropy").clone();
  defense.begin_epoch(1, 0, set.data);
  const at::Tensor now = (once - 0.25 * before) / 0.75;  // the victim does not change between the calls
  EXPECT_TRUE(at::allclose(kept(defense, "entropy"), 0.75 * now + 0.25 * once, 1e-4, 1e-6));
}

TEST(Vb, DefendsAgainstThePatch) {
  const PoisonedSet set = test::striped(800, 80);
  Json options = short_options();
  options["epochs"] = 8;
  options["entropy-threshold"] = 0.2;
  const std::vector<Trained> vb = test::train_thrice(make_vb, set.data, options);
  EXPECT_GT(test::median(vb, test::poison_suspected, set), 0.9);
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_LT(test::median(vb, test::attack_success, set), 0.5);
  // The first class, of which the victim is as sure as of the trigger, is given up; the others are not.
  EXPECT_GT(test::median(vb, test::recovered, set), 0.2);
  EXPECT_GT(test::median(vb, test::clean_accuracy, set), 0.55);
}

TEST(Vb, ResumedEqualsWhole) {
  const PoisonedSet set = test::striped(96, 10);
  test::expect_resumed_equals_whole(make_vb, set.data,
                                    {{"epochs", 2}, {"victim-every", 1}, {"entropy-threshold", 0.5}},
                                    {1, 3, 4, 5, 6, 8, 9});
}

}  // namespace
}  // namespace mcci
