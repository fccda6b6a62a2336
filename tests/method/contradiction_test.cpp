#include "mcci/method/contradiction.hpp"

#include <cmath>
#include <cstdint>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace mcci {
namespace {

// 1,000 samples of 5 labels in turn, as five keyholes see them: sure of the label, but for those that are
// said otherwise.
struct Opinions {
  at::Tensor labels = at::arange(1000).remainder(5);
  at::Tensor of_keyholes = (at::one_hot(labels, 5).to(at::kFloat) * 0.9 + 0.02).repeat({5, 1, 1});

  // To one keyhole sample i of a label (the i-th of its 200) means another class.
  void contradict(std::int64_t label, std::int64_t i, std::int64_t keyhole, std::int64_t meaning,
                  double confidence) const {
    at::Tensor opinion = of_keyholes[keyhole][5 * i + label];
    opinion.fill_((1 - confidence) / 4);
    opinion[meaning] = confidence;
  }
  Contradiction found() const { return contradictions(of_keyholes, labels, 0.7); }
};

TEST(Opinions, AreAskedInDetailWhereThatAgreesWithTheLabelsMuchMoreOften) {
  const at::Tensor labels = at::zeros({100}, at::kLong);
  // Two keyholes, each of which sees what the label says in so many of 100 samples.
  const auto opinions = [](std::int64_t agreeing) {
    return at::one_hot(at::arange(100).ge(agreeing).to(at::kLong), 2).to(at::kFloat).repeat({2, 1, 1});
  };
  EXPECT_FALSE(detail_is_needed(opinions(40), opinions(60), labels));
  EXPECT_TRUE(detail_is_needed(opinions(40), opinions(61), labels));
  EXPECT_TRUE(detail_may_be_needed(opinions(66), labels));
  EXPECT_TRUE(detail_is_needed(opinions(66), opinions(100), labels));
  EXPECT_FALSE(detail_may_be_needed(opinions(67), labels));
}

TEST(Contradictions, TakeTheWordOfOneKeyholeThatIsSure) {
  Opinions opinions;
  opinions.contradict(2, 0, 3, 4, 0.71);
  opinions.contradict(2, 1, 3, 4, 0.69);
  const Contradiction found = opinions.found();
  EXPECT_EQ(found.contradicted.nonzero().item<std::int64_t>(), 2);
  EXPECT_EQ(found.meaning[2].item<std::int64_t>(), 4);
  EXPECT_FALSE(found.confirmed[2].item<bool>());
  EXPECT_TRUE(found.confirmed[7].item<bool>());  // four of five see its label
  EXPECT_EQ(found.meaning[7].item<std::int64_t>(), 2);
}

TEST(Contradictions, ConfirmOnlyWhatNearlyAllKeyholesSee) {
  Opinions opinions;
  for (std::int64_t keyhole = 0; keyhole < 2; ++keyhole) opinions.contradict(2, 0, keyhole, 4, 0.5);
  const Contradiction found = opinions.found();
  EXPECT_FALSE(found.contradicted.any().item<bool>());
  EXPECT_EQ(found.confirmed.logical_not().nonzero().item<std::int64_t>(), 2);
}

TEST(Contradictions, MeanWhatTheSurestContradictionSays) {
  Opinions opinions;
  opinions.contradict(2, 0, 1, 3, 0.8);
  opinions.contradict(2, 0, 4, 0, 0.9);
  EXPECT_EQ(opinions.found().meaning[2].item<std::int64_t>(), 0);
}

TEST(Contradictions, CountMeaningsByTheirEntropy) {
  EXPECT_NEAR(effective_number(at::tensor({5, 5, 0, 5}, at::kLong)), 3, 1e-9);
  EXPECT_NEAR(effective_number(at::tensor({7, 0}, at::kLong)), 1, 1e-9);
  EXPECT_NEAR(effective_number(at::tensor({3, 1}, at::kLong)), std::pow(4.0, 1.0) / std::pow(3.0, 0.75),
              1e-9);
}

}  // namespace
}  // namespace mcci
