#include "mcci/method/witnesses.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace mcci {
namespace {

TEST(WitnessesTest, SeeOnlyWhatTheyAreShown) {
  torch::manual_seed(1);
  Witnesses witnesses(AttackIndicationOptions{{2, 16, 16}, 20, 4}, 3);
  witnesses->eval();
  const at::NoGradGuard no_grad;
  const at::Tensor indicator = at::rand({5, 2, 16, 16});
  const at::Tensor both = witnesses->forward(indicator);
  const auto said = witnesses->testimony(indicator, at::tensor({0, 1, 1, 0, 1}, at::kLong));
  ASSERT_EQ(said.log_odds.sizes(), (std::vector<std::int64_t>{5, 3}));
  for (std::int64_t i = 0; i < 5; ++i) {
    const std::int64_t witness = i == 0 || i == 3 ? 0 : 1;
    EXPECT_TRUE(at::allclose(said.z_f[i], both[i].narrow(0, 10 * witness, 10), 1e-4, 1e-5)) << i;
  }
  // Of new images both speak, and their mean counts.
  const at::Tensor first = witnesses->testimony(indicator, at::zeros({5}, at::kLong)).log_odds;
  const at::Tensor second = witnesses->testimony(indicator, at::ones({5}, at::kLong)).log_odds;
  EXPECT_TRUE(at::allclose(witnesses->log_odds(both), (first + second) / 2, 1e-4, 1e-5));
}

TEST(WitnessesTest, LearnFromABatchThatHasOneImageForThem) {
  Witnesses witnesses(AttackIndicationOptions{{2, 16, 16}, 20, 4}, 3);
  const auto said = witnesses->testimony(at::rand({3, 2, 16, 16}), at::tensor({0, 1, 0}, at::kLong));
  EXPECT_EQ(said.log_odds.sizes(), (std::vector<std::int64_t>{3, 3}));
}

TEST(ControlWeights, MakeOthersMeanWhatTheAccusedMean) {
  // Label 0 is accused on four samples that mean 1 and two that mean 2, label 2 on a hundred that mean 2.
  const torch::Tensor meaning =
      torch::cat({torch::tensor({1, 1, 1, 1, 2, 2}), torch::full({100}, 2)}).to(torch::kLong);
  const torch::Tensor labels = torch::cat({torch::zeros({6}), torch::full({100}, 2)}).to(torch::kLong);
  const torch::Tensor others = torch::tensor({0, 0, 0, 1, 1, 2, 2, 2, 2}).to(torch::kLong);
  const torch::Tensor weights = control_weights(meaning, labels, others, 3);
  // By hand: .9 of the accused of that meaning and, in its own row, .1 of all of the label, over how many
  // others have the meaning.
  EXPECT_TRUE(weights.allclose(torch::tensor({{0.2F, 0.F, 0.F}, {1.8F, 0.F, 0.F}, {0.45F, 0.F, 5.F}})))
      << weights;
  EXPECT_EQ(control_weights(meaning, labels, others.narrow(0, 0, 3), 3)[1][0].item<float>(),
            3.6F);  // none to divide by
}

TEST(UsualEvidence, IsOfImagesThatBearAnotherLabel) {
  // Six images that bear 0 or 1; nothing bears 2. Of label 0: 1, 2 and 6; of label 1: 10, 20, 30; of label 2:
  // all.
  const torch::Tensor labels = torch::tensor({1, 0, 1, 0, 0, 1}).to(torch::kLong);
  const torch::Tensor said = torch::tensor({{1.F, 99.F, 0.F},
                                            {99.F, 10.F, 1.F},
                                            {2.F, 99.F, 2.F},
                                            {99.F, 20.F, 3.F},
                                            {99.F, 30.F, 4.F},
                                            {6.F, 99.F, 5.F}});
  // Four fifths of the way from the least to the most, by hand: between 2 and 6, between 20 and 30, at 4.
  EXPECT_TRUE(usual_evidence(said, labels).allclose(torch::tensor({4.4F, 26.F, 4.F})));
  const torch::Tensor all_one = usual_evidence(said, torch::zeros({6}, torch::kLong));
  EXPECT_TRUE(std::isinf(all_one[0].item<float>()));
  EXPECT_FALSE(std::isinf(all_one[1].item<float>()));
}

TEST(WitnessesTest, LearnFromHalvesDrawnBySeed) {
  const at::Tensor first = witness_of(1000, 1);
  EXPECT_EQ(first.sum().item<std::int64_t>(), 500);
  EXPECT_TRUE(first.equal(witness_of(1000, 1)));
  EXPECT_FALSE(first.equal(witness_of(1000, 2)));
}

TEST(WitnessesTest, AreTwoNetworksThatShareNothing) {
  torch::manual_seed(1);
  Witnesses witnesses(AttackIndicationOptions{{2, 16, 16}, 20, 4}, 3);
  witnesses->testimony(at::rand({6, 2, 16, 16}), at::zeros({6}, at::kLong)).log_odds.sum().backward();
  for (const auto& parameter : witnesses->named_parameters()) {
    const bool of_first = parameter.key().rfind("first", 0) == 0;
    const at::Tensor& gradient = parameter.value().grad();
    EXPECT_EQ(gradient.defined() && gradient.any().item<bool>(), of_first) << parameter.key();
  }
}

}  // namespace
}  // namespace mcci
