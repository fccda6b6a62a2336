#include "mcci/metrics/metrics.hpp"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"

namespace mcci {
namespace {

at::Tensor ints(std::vector<std::int64_t> values) { return at::tensor(values, at::kLong); }
at::Tensor bools(const std::vector<int>& values) { return at::tensor(values, at::kInt).to(at::kBool); }
at::Tensor doubles(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

void expect_rate(const Rate& rate, std::int64_t hits, std::int64_t total) {
  EXPECT_EQ(rate.hits, hits);
  EXPECT_EQ(rate.total, total);
}

// The definition: the share of (positive, negative) pairs that the scores order rightly, ties counting one
// half.
double auroc_by_pairs(const at::Tensor& scores, const at::Tensor& positives) {
  double won = 0;
  double pairs = 0;
  for (std::int64_t i = 0; i < scores.numel(); ++i) {
    for (std::int64_t j = 0; j < scores.numel(); ++j) {
      if (!positives[i].item<bool>() || positives[j].item<bool>()) continue;
      const auto a = scores[i].item<double>();
      const auto b = scores[j].item<double>();
      won += a > b ? 1.0 : a == b ? 0.5 : 0.0;
      pairs += 1;
    }
  }
  return won / pairs;
}

TEST(Rate, IsNaNWhenNothingIsCounted) {
  EXPECT_DOUBLE_EQ((Rate{1, 8}.percent()), 12.5);
  EXPECT_DOUBLE_EQ((Rate{0, 8}.percent()), 0.0);
  EXPECT_TRUE(std::isnan(Rate{}.percent()));
}

TEST(CleanAccuracy, CountsEqualLabels) {
  expect_rate(clean_accuracy(ints({0, 1, 2, 2}), ints({0, 1, 1, 2})), 3, 4);
  expect_rate(clean_accuracy(ints({}), ints({})), 0, 0);
}

TEST(CleanAccuracy, PerClassGroupsByLabelNotByPrediction) {
  const std::vector<Rate> rates = per_class_accuracy(ints({0, 0, 1, 2, 1}), ints({0, 1, 1, 1, 2}), 4);
  ASSERT_EQ(rates.size(), 4U);
  expect_rate(rates[0], 1, 1);
  expect_rate(rates[1], 1, 3);
  expect_rate(rates[2], 0, 1);
  expect_rate(rates[3], 0, 0);
  EXPECT_TRUE(std::isnan(rates[3].percent()));
}

// Target class 0. True classes 0 0 1 1 2 2; the model says 0 1 0 1 0 0.
struct TriggeredImages : testing::Test {
  at::Tensor predictions = ints({0, 1, 0, 1, 0, 0});
  at::Tensor true_labels = ints({0, 0, 1, 1, 2, 2});
  at::Tensor attack_labels = ints({0, 0, 0, 0, 0, 0});
};

TEST_F(TriggeredImages, OfTheTargetClassAreLeftOutByDefault) {
  expect_rate(attack_success_rate(predictions, true_labels, attack_labels), 3, 4);
  expect_rate(poisoned_accuracy(predictions, true_labels, attack_labels), 1, 4);
}

TEST_F(TriggeredImages, OfTheTargetClassCountOnRequest) {
  expect_rate(attack_success_rate(predictions, true_labels, attack_labels, TriggeredCount::all_classes), 4,
              6);
  expect_rate(poisoned_accuracy(predictions, true_labels, attack_labels, TriggeredCount::all_classes), 2, 6);
}

TEST_F(TriggeredImages, OfAnAllToAllAttackAllCount) {
  const at::Tensor next_class = ints({1, 1, 2, 2, 0, 0});
  expect_rate(attack_success_rate(predictions, true_labels, next_class), 3, 6);
  expect_rate(poisoned_accuracy(predictions, true_labels, next_class), 2, 6);
}

TEST_F(TriggeredImages, AllOfTheTargetClassLeaveNothingToCount) {
  const at::Tensor zeros = ints({0, 0});
  EXPECT_TRUE(std::isnan(attack_success_rate(ints({0, 1}), zeros, zeros).percent()));
  EXPECT_TRUE(std::isnan(poisoned_accuracy(ints({0, 1}), zeros, zeros).percent()));
}

TEST(DefenseEffectiveness, RewardsLowerAsrAndPunishesLowerCa) {
  EXPECT_DOUBLE_EQ(defense_effectiveness(90, 100, 90, 0), 1.0);
  EXPECT_DOUBLE_EQ(defense_effectiveness(90, 100, 90, 100), 0.5);
  EXPECT_DOUBLE_EQ(defense_effectiveness(90, 100, 80, 20), 0.85);  // (0.8 - 0.1 + 1) / 2
  EXPECT_DOUBLE_EQ(defense_effectiveness(100, 0, 0, 0), 0.0);
  EXPECT_DOUBLE_EQ(defense_effectiveness(90, 40, 95, 60),
                   0.5);  // gains in CA and losses in ASR count nothing
  EXPECT_TRUE(std::isnan(defense_effectiveness(90, std::nan(""), 90, 0)));
  EXPECT_TRUE(std::isnan(defense_effectiveness(90, 100, std::nan(""), 0)));
}

TEST(Auroc, OfHandMadeScores) {
  EXPECT_DOUBLE_EQ(auroc(doubles({0.1, 0.2, 0.8, 0.9}), bools({0, 0, 1, 1})), 1.0);
  EXPECT_DOUBLE_EQ(auroc(doubles({0.1, 0.2, 0.8, 0.9}), bools({1, 1, 0, 0})), 0.0);
  EXPECT_DOUBLE_EQ(auroc(doubles({0.5, 0.5, 0.5}), bools({1, 0, 0})), 0.5);
  EXPECT_DOUBLE_EQ(auroc(doubles({3, 1, 2, 3}), bools({1, 0, 1, 0})), 0.625);  // pairs: 1, .5, 1, 0
}

TEST(Auroc, KnowsInfiniteScores) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_DOUBLE_EQ(auroc(doubles({-infinity, 0, infinity, infinity}), bools({0, 0, 1, 0})), 2.5 / 3);
}

TEST(Auroc, EqualsThePairCountForManyTies) {
  Rng rng(7);
  for (int round = 0; round < 20; ++round) {
    const std::int64_t n = 2 + rng.below(60);
    std::vector<double> scores;
    std::vector<int> positives;
    for (std::int64_t i = 0; i < n; ++i) {
      scores.push_back(static_cast<double>(rng.below(1 + round)));
      positives.push_back(rng.chance(0.3) ? 1 : 0);
    }
    positives.front() = 1;
    positives.back() = 0;
    EXPECT_NEAR(auroc(doubles(scores), bools(positives)), auroc_by_pairs(doubles(scores), bools(positives)),
                1e-12);
  }
}

TEST(Auroc, TakesFloatScores) { EXPECT_DOUBLE_EQ(auroc(doubles({1, 2}).to(at::kFloat), bools({0, 1})), 1.0); }

TEST(Auroc, IsNaNWithoutBothSidesOrWithNaNScores) {
  EXPECT_TRUE(std::isnan(auroc(doubles({}), bools({}))));
  EXPECT_TRUE(std::isnan(auroc(doubles({1, 2}), bools({1, 1}))));
  EXPECT_TRUE(std::isnan(auroc(doubles({1, 2}), bools({0, 0}))));
  EXPECT_TRUE(std::isnan(auroc(doubles({1, std::nan("")}), bools({0, 1}))));
}

TEST(Detection, CountsTheFourCases) {
  const Detection result = detection(bools({1, 1, 1, 0, 0, 0, 0}), bools({1, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(result.true_positives, 1);
  EXPECT_EQ(result.false_positives, 2);
  EXPECT_EQ(result.false_negatives, 1);
  EXPECT_EQ(result.true_negatives, 3);
  EXPECT_DOUBLE_EQ(result.precision(), 1.0 / 3);
  EXPECT_DOUBLE_EQ(result.recall(), 0.5);
  EXPECT_DOUBLE_EQ(result.false_positive_rate(), 0.4);
}

TEST(Detection, IsNaNWhereThereIsNothingToCount) {
  const Detection nothing_flagged = detection(bools({0, 0}), bools({1, 0}));
  EXPECT_TRUE(std::isnan(nothing_flagged.precision()));
  EXPECT_DOUBLE_EQ(nothing_flagged.recall(), 0.0);
  const Detection nothing_to_find = detection(bools({1, 0}), bools({0, 0}));
  EXPECT_TRUE(std::isnan(nothing_to_find.recall()));
  EXPECT_DOUBLE_EQ(nothing_to_find.false_positive_rate(), 0.5);
  EXPECT_TRUE(std::isnan(detection(bools({1, 1}), bools({1, 1})).false_positive_rate()));
}

TEST(Metrics, RefuseVectorsOfDifferentLengths) {
  const at::Tensor two = ints({0, 1});
  const at::Tensor three = ints({0, 1, 2});
  EXPECT_THROW(clean_accuracy(two, three), Error);
  EXPECT_THROW(per_class_accuracy(two, three, 3), Error);
  EXPECT_THROW(attack_success_rate(two, two, three), Error);
  EXPECT_THROW(poisoned_accuracy(two, three, two), Error);
  EXPECT_THROW(auroc(doubles({1, 2, 3}), bools({0, 1})), Error);
  EXPECT_THROW(detection(bools({0}), bools({0, 1})), Error);
  EXPECT_THROW(clean_accuracy(two.view({1, 2}), two.view({1, 2})), Error);
}

}  // namespace
}  // namespace mcci
