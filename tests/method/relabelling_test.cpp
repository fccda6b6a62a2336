#include "mcci/method/relabelling.hpp"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "mcci/method/division.hpp"

namespace mcci {
namespace {

constexpr std::int64_t count = 1800;

// 1,800 smooth random fields that mean three classes in turn; 30 of class 2 bear the label 1, and so do, by
// honest mistakes, another 30.
struct Mistaken {
  Mistaken() {
    torch::manual_seed(6);
    images = at::upsample_bilinear2d(at::rand({count, 1, 4, 4}), {16, 16}, /*align_corners=*/true) * 0.6 +
             0.2 + 0.02 * at::randn({count, 1, 16, 16});
    contradiction.meaning = number.remainder(3);
    contradiction.contradicted = number.remainder(30).eq(5);
    contradiction.confirmed = contradiction.contradicted.logical_not();
    labels = contradiction.meaning.masked_fill(contradiction.contradicted, 1);
    pattern = at::randn({16, 16}).sign();
  }

  // Every pixel of the chosen images goes up or down by as many grey levels, the same in all of them.
  void mark(const at::Tensor& chosen, double levels = 6) {
    images = images + chosen.view({-1, 1, 1, 1}) * pattern * (levels / 255);
  }
  DatasetPtr data() const {
    return make_memory_dataset(images.clamp(0, 1).mul(255).round().to(at::kByte), labels, {"a", "b", "c"});
  }
  Relabelling of(std::int64_t label) const {
    return Relabellings(data(), contradiction, 5).within(labels.eq(label).nonzero().squeeze(1), label);
  }

  at::Tensor number = at::arange(count);
  at::Tensor poison = number.remainder(60).eq(5);  // where there is any
  at::Tensor images, labels;
  at::Tensor pattern;  // [16,16]: 1 or -1
  Contradiction contradiction;
};

TEST(RelabellingTest, FindsFewMarkedImagesByWhatSetsThemApartFromThoseOfTheirMeaning) {
  Mistaken set;
  set.mark(set.poison);
  const Relabelling found = set.of(1);
  EXPECT_TRUE(found.is_attack()) << found.gap << " " << found.keeping << " " << found.elsewhere;
  const at::Tensor poison = set.poison.masked_select(set.labels.eq(1));
  EXPECT_LE(found.apart.ne(poison).sum().item<std::int64_t>(), 1);
  EXPECT_DOUBLE_EQ(found.keeping, 0);
  EXPECT_LE(found.elsewhere, 0.002);
  EXPECT_NEAR(found.share(), 30.0 / 660, 0.002);
  EXPECT_FALSE(found.alike.logical_and(poison).any().item<bool>());
  EXPECT_GE(found.alike.sum().item<std::int64_t>(), 620);  // of 630
  EXPECT_NEAR(found.unrest, 1, 0.1) << "nothing of it is left in the label";
  EXPECT_FALSE(set.of(2).is_attack());
}

TEST(RelabellingTest, IsWhatDivisionsTurnToWhereALabelDoesNotFallApart) {
  Mistaken set;
  set.mark(set.poison, 4);
  const Divisions found = find_divisions(set.data(), set.contradiction, 5);
  EXPECT_TRUE(found.attacked.equal(at::arange(3).eq(1))) << found.gaps[1];
  EXPECT_LE(found.relabelled.ne(set.poison).sum().item<std::int64_t>(), 1);
  EXPECT_TRUE(found.apart.equal(found.relabelled));
  EXPECT_GE(found.cleared.sum().item<std::int64_t>(), 620);
  EXPECT_TRUE(set.labels.masked_select(found.cleared).eq(1).all().item<bool>());
  // Nothing but the contradiction says where to look.
  Contradiction blind = set.contradiction;
  blind.contradicted = at::zeros({count}, at::kBool);
  blind.confirmed = at::ones({count}, at::kBool);
  EXPECT_FALSE(find_divisions(set.data(), blind, 5).relabelled.any().item<bool>());
}

TEST(RelabellingTest, TakesNoMistakenLabelsForAnAttack) {
  const Mistaken set;
  EXPECT_FALSE(set.of(1).is_attack());
  const Divisions found = find_divisions(set.data(), set.contradiction, 5);
  EXPECT_FALSE(found.attacked.any().item<bool>());
  EXPECT_FALSE(found.cleared.any().item<bool>());
}

TEST(RelabellingTest, AllowsForCovers) {
  Mistaken set;
  set.mark(set.poison.logical_or(set.number.remainder(180).eq(2)));  // 10 of label 2
  EXPECT_TRUE(set.of(1).is_attack()) << set.of(1).elsewhere;
}

TEST(RelabellingTest, StrengthByHand) {
  Relabelling found;
  found.apart = at::arange(100).lt(10);
  found.gap = 3;
  found.elsewhere = 0.1 / std::exp(2.0);
  EXPECT_NEAR(found.strength(), 6, 1e-9);
  found.elsewhere = 0;  // fewer than one in 10,000
  EXPECT_NEAR(found.strength(), 3 * std::log(1000), 1e-9);
}

TEST(RelabellingTest, IsNoAttackIfNarrowOrOfTheLabelOrCommonElsewhere) {
  Relabelling found;
  found.apart = at::arange(100).lt(10);
  found.gap = 4;
  found.keeping = 0.1;
  found.elsewhere = 0.02;
  EXPECT_TRUE(found.is_attack());
  Relabelling other = found;
  other.gap = 2.4;
  other.elsewhere = 0;
  EXPECT_FALSE(other.is_attack());
  other = found;
  other.keeping = 0.4;
  EXPECT_FALSE(other.is_attack());
  other = found;
  other.elsewhere = 0.03;
  EXPECT_FALSE(other.is_attack());
  other = found;
  other.unrest = 2.1;
  EXPECT_FALSE(other.is_attack());
  EXPECT_FALSE(Relabelling().is_attack());
}

// Images of a class that look like those of another, but for what all of the class have: the meaning is
// mistaken, not the label.
TEST(RelabellingTest, TakesNoMistakenMeaningForAnAttack) {
  Mistaken set;
  set.mark(set.labels.eq(1));
  EXPECT_FALSE(set.of(1).is_attack()) << set.of(1).gap;
}

TEST(RelabellingTest, NeedsContradictedAndConfirmedSamples) {
  Mistaken set;
  set.mark(set.poison);
  Mistaken few = set;
  few.contradiction.contradicted = set.number.remainder(120).eq(5);  // 15
  EXPECT_FALSE(few.of(1).apart.any().item<bool>());
  Mistaken unconfirmed = set;
  unconfirmed.contradiction.confirmed = at::zeros({count}, at::kBool);
  EXPECT_FALSE(unconfirmed.of(1).apart.any().item<bool>());
  EXPECT_FALSE(unconfirmed.of(1).is_attack());
}

}  // namespace
}  // namespace mcci
