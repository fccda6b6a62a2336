#include "mcci/method/hearing.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace mcci {
namespace {

// 400 noisy images of four classes, each brighter than the one before. The first 80 mean the classes 1 to 3,
// bear a white patch in the last corner and the label 0.
class HearingTest : public ::testing::Test {
 protected:
  HearingTest() {
    torch::manual_seed(1);
    const torch::Tensor poisoned = torch::arange(400).lt(80);
    const torch::Tensor meaning =
        torch::where(poisoned, torch::arange(400).remainder(3) + 1, torch::arange(400).remainder(4));
    torch::Tensor images = torch::randint(0, 120, {400, 1, 8, 8}, torch::kLong);
    images = (images + 30 * meaning.view({-1, 1, 1, 1})).to(torch::kByte);
    images.narrow(0, 0, 80).narrow(2, 6, 2).narrow(3, 6, 2).fill_(255);
    hearing_.data = make_memory_dataset(images, meaning.masked_fill(poisoned, 0), {"a", "b", "c", "d"});
    hearing_.contradiction = {poisoned, poisoned.logical_not(), meaning};
    hearing_.divided = torch::zeros({4}, torch::kBool);
    hearing_.known = torch::zeros({4}, torch::kBool);
    hearing_.evidence = torch::where(poisoned, torch::full({400}, 5.F), torch::full({400}, -5.F));
  }

  // Sure of label 0 where the patch is white, and of nothing else.
  static torch::Tensor sees_the_patch(const torch::Tensor& images) {
    torch::Tensor said = torch::full({images.size(0), 4}, -5.F);
    const torch::Tensor white = images.narrow(2, 6, 2).narrow(3, 6, 2).flatten(1).amin(1).gt(0.95);
    said.select(1, 0).masked_fill_(white, 5);
    return said;
  }

  Hearing hearing_;
};

TEST_F(HearingTest, NamesTheLabelAndItsTrigger) {
  const Findings found = find_attack(hearing_, sees_the_patch, 0.33);
  EXPECT_TRUE(found.attacked.equal(torch::tensor({true, false, false, false})));
  EXPECT_TRUE(found.guilty.equal(torch::arange(400).lt(80)));
  EXPECT_TRUE(marked_by(hearing_, found).equal(found.guilty));
  EXPECT_TRUE(found.exposed.equal(found.attacked));
  const Deed deed = deed_of(hearing_, found);
  ASSERT_EQ(deed.triggers.scale.size(0), 1);
  const auto corner = [](const torch::Tensor& t) { return t[0][0].narrow(0, 6, 2).narrow(1, 6, 2); };
  EXPECT_LT(corner(deed.triggers.scale).max().item<double>(), 0.1);   // what was there is covered
  EXPECT_GT(corner(deed.triggers.shift).min().item<double>(), 0.95);  // in white
  EXPECT_GT(deed.triggers.scale.sum().item<double>(), 0.8 * 60);      // the other 60 pixels stay
  for (const std::int64_t meant : {1, 2, 3}) EXPECT_GT(deed.transition[meant][0].item<double>(), 0.99);
  EXPECT_TRUE(torch::allclose(deed.transition.sum(1), torch::ones({4})));
}

// Where images are held to mean another class than they do, what the classes differ by passes for a trigger.
TEST_F(HearingTest, WhatWasDoneShowsByTheBetterMeaning) {
  const torch::Tensor right = hearing_.contradiction.meaning, patched = torch::arange(400).lt(80);
  const torch::Tensor wrong = torch::where(patched, (right + 1).remainder(4), right);
  const Findings found = find_attack(hearing_, sees_the_patch, 0.33);
  EXPECT_TRUE(better_meaning(hearing_, found, wrong).equal(right));
  hearing_.contradiction.meaning = wrong;
  const torch::Tensor better = better_meaning(hearing_, found, right);
  EXPECT_TRUE(better.equal(right));
  const auto elsewhere = [](const Deed& deed) {
    return deed.triggers.shift[0][0].narrow(0, 0, 5).abs().mean();
  };
  const double mistaken = elsewhere(deed_of(hearing_, found)).item<double>();
  hearing_.contradiction.meaning = better;
  EXPECT_LT(elsewhere(deed_of(hearing_, found)).item<double>(), 0.5 * mistaken);
  // Of samples that are not guilty nobody else is asked.
  EXPECT_TRUE(better_meaning(hearing_, found, torch::zeros_like(right)).equal(right));
}

// What the attacker's own class bears of it is found too, once the trigger is known to work.
TEST_F(HearingTest, OwnClassIsMarkedOnlyIfTheTriggerWorks) {
  hearing_.evidence[80] = 5;  // a clean sample of class 0, which nothing contradicts
  EXPECT_TRUE(marked_by(hearing_, find_attack(hearing_, sees_the_patch, 0.33))[80].item<bool>());
  const Witness deaf = [](const torch::Tensor& images) { return torch::full({images.size(0), 4}, -5.F); };
  const Findings found = find_attack(hearing_, deaf, 0.33);
  EXPECT_TRUE(found.attacked[0].item<bool>());  // by the share that is marked, and by what it means
  EXPECT_FALSE(marked_by(hearing_, found)[80].item<bool>());
  EXPECT_FALSE(found.exposed.any().item<bool>());
  EXPECT_FALSE(deed_of(hearing_, found).triggers.defined());
}

// Left out for an ablation, the test on other images passes every trigger.
TEST_F(HearingTest, BelievesATriggerThatItDoesNotTest) {
  hearing_.intervene = false;
  const Witness deaf = [](const torch::Tensor& images) { return torch::full({images.size(0), 4}, -5.F); };
  const Findings found = find_attack(hearing_, deaf, 0.33);
  EXPECT_TRUE(deed_of(hearing_, found).triggers.defined());
}

// Where poison is known without them, the witnesses are not asked whether the trigger works.
TEST_F(HearingTest, BelievesTheTriggerOfKnownPoison) {
  hearing_.known[0] = true;
  const Witness deaf = [](const torch::Tensor& images) { return torch::full({images.size(0), 4}, -5.F); };
  const Findings found = find_attack(hearing_, deaf, 0.33);
  EXPECT_TRUE(found.attacked.equal(torch::tensor({true, false, false, false})));
  EXPECT_TRUE(marked_by(hearing_, found).equal(torch::arange(400).lt(80)));
  EXPECT_EQ(deed_of(hearing_, found).triggers.scale.size(0), 1);
}

// All ten that were asked of what does not contradict label 0 bear the mark, and half of what does: it is no
// mark then, and numbers speak for all that contradicts the label.
TEST_F(HearingTest, OnlyThoseWhoWereAskedSayHowCommonAMarkIs) {
  hearing_.evidence.narrow(0, 0, 40).fill_(-5);
  const torch::Tensor rest = hearing_.data->labels().eq(0).logical_and(torch::arange(400).ge(80));
  hearing_.evidence.masked_fill_(rest, -std::numeric_limits<double>::infinity());
  const auto guilty = [&] { return find_attack(hearing_, sees_the_patch, 0.33).guilty.sum(); };
  EXPECT_EQ(guilty().item<std::int64_t>(), 40);
  hearing_.evidence.index_fill_(0, rest.nonzero().squeeze(1).narrow(0, 0, 10), 5);
  EXPECT_EQ(guilty().item<std::int64_t>(), 80);
}

TEST_F(HearingTest, MistakesWithoutAMarkAreNoAttack) {
  hearing_.evidence.fill_(-5);
  hearing_.contradiction.contradicted = torch::arange(400).remainder(7).eq(0);  // of every label
  const Findings found = find_attack(hearing_, sees_the_patch, 0.33);
  EXPECT_FALSE(found.attacked.any().item<bool>());
  EXPECT_FALSE(marked_by(hearing_, found).any().item<bool>());
  EXPECT_FALSE(found.exposed.any().item<bool>());
  EXPECT_FALSE(deed_of(hearing_, found).triggers.defined());
}

}  // namespace
}  // namespace mcci
