// Detectors that look at a trained network or at the spectrum.
#include "mcci/baselines/filter.hpp"

#include <cmath>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/baselines/activation_clustering.hpp"
#include "mcci/baselines/clustering.hpp"
#include "mcci/baselines/frequency.hpp"
#include "mcci/baselines/spectral_signatures.hpp"
#include "mcci/baselines/strip.hpp"
#include "mcci/data/compose.hpp"
#include "tests/baselines/testing.hpp"

namespace mcci {
namespace {

using test::PoisonedSet;
using test::Trained;

double share_of(const at::Tensor& flagged, const at::Tensor& among) {
  return flagged.masked_select(among).to(at::kDouble).mean().item<double>();
}

TEST(SpectralSignatures, ScoresByHand) {
  // Around their mean (2, 1) the points lie along (1, 0): -2, -1, 0, 0, 3, and the second coordinate is 0.
  const at::Tensor points = at::tensor({0.F, 1.F, 1.F, 1.F, 2.F, 1.F, 2.F, 1.F, 5.F, 1.F}).view({5, 2});
  EXPECT_TRUE(at::allclose(spectral_scores(points), at::tensor({4.F, 1.F, 0.F, 0.F, 9.F}), 1e-5, 1e-5));
}

TEST(SpectralSignatures, DefendsWhereATenthOfAClassIsPoisoned) {
  const PoisonedSet set = test::striped(800, 20, 60);
  const Trained filter = test::train_defense(make_spectral_signatures(), set.data,
                                             {{"epochs", 5}, {"probe-epochs", 4}, {"lr", 0.05}});
  const at::Tensor out = test::held_of_samples(*filter.defense).ge(0);
  for (std::int64_t c = 0; c < 4; ++c) {
    const at::Tensor members = set.data->labels().eq(c);
    EXPECT_EQ(out.logical_and(members).sum().item<std::int64_t>(),
              static_cast<std::int64_t>(0.15 * members.sum().item<double>()))
        << c;
  }
  EXPECT_GT(share_of(out, set.poisoned), 0.95);
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_LT(test::attack_success(*filter.defense, set), 0.1);
  EXPECT_GT(test::clean_accuracy(*filter.defense, set), 0.9);
}

TEST(Clustering, ComponentsByHand) {
  // Variances 8 and 2 along the axes, which principal_components orders by the lesser first.
  const at::Tensor points = at::tensor({4.0, 0.0, -4.0, 0.0, 0.0, 2.0, 0.0, -2.0}).view({4, 2});
  const at::Tensor one = principal_components(points, 1, false);
  EXPECT_TRUE(at::allclose(one.abs().squeeze(1), at::tensor({4.0, 4.0, 0.0, 0.0}, at::kDouble)));
  const at::Tensor white = principal_components(points, 5, true);
  ASSERT_EQ(white.size(1), 2);
  EXPECT_TRUE(at::allclose(white.square().mean(0), at::ones({2}, at::kDouble)));
}

TEST(Clustering, TwoMeansAndSilhouetteByHand) {
  const at::Tensor points = at::tensor({0.0, 1.0, 10.0, 11.0, 12.0}, at::kDouble).unsqueeze(1);
  const TwoClusters found = two_means(points, 1);
  const auto of_low = found.assignment[0].item<std::int64_t>();
  EXPECT_EQ(found.assignment[1].item<std::int64_t>(), of_low);
  for (const std::int64_t i : {2, 3, 4}) EXPECT_EQ(found.assignment[i].item<std::int64_t>(), 1 - of_low);
  EXPECT_DOUBLE_EQ(found.centres[of_low][0].item<double>(), 0.5);
  EXPECT_DOUBLE_EQ(found.centres[1 - of_low][0].item<double>(), 11.0);
  // (b - a) / b with a = 1, 1, 1.5, 1, 1.5 and b = 11, 10, 9.5, 10.5, 11.5.
  const double expected = (10.0 / 11 + 9.0 / 10 + 8.0 / 9.5 + 9.5 / 10.5 + 10.0 / 11.5) / 5;
  EXPECT_NEAR(silhouette(points, found.assignment), expected, 1e-9);
  EXPECT_EQ(silhouette(points, at::zeros({5}, at::kLong)), 0);
}

TEST(Clustering, NearestCentresByHand) {
  // Centres: 1 of the first label, whose third sample does not count, 10 of the second; none of the third.
  const at::Tensor points = at::tensor({0.F, 2.F, 20.F, 10.F, 5.F, 6.F}).unsqueeze(1);
  const at::Tensor labels = at::tensor({0, 0, 0, 1, 2, 2}, at::kLong);
  const at::Tensor counted = at::tensor({1, 1, 0, 1, 0, 0}, at::kLong).to(at::kBool);
  EXPECT_TRUE(nearest_centres(points, labels, counted, 3).equal(at::tensor({0, 0, 1, 1, 0, 1}, at::kLong)));
}

TEST(Clustering, EqualPointsAreNoError) {
  const TwoClusters found = two_means(at::ones({4, 2}, at::kDouble), 1);
  EXPECT_TRUE(found.centres.isfinite().all().item<bool>());
}

TEST(ActivationClustering, DefendsAgainstThePatch) {
  const PoisonedSet set = test::striped(800, 60, 60);
  const Trained filter = test::train_defense(
      make_activation_clustering(), set.data,
      {{"epochs", 5}, {"probe-epochs", 5}, {"lr", 0.05}, {"components", 2}, {"silhouette", 0.4}});
  const at::Tensor out = test::held_of_samples(*filter.defense).ge(0);
  EXPECT_GT(share_of(out, set.poisoned), 0.95);
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_LT(test::attack_success(*filter.defense, set), 0.1);
  EXPECT_GT(test::clean_accuracy(*filter.defense, set), 0.9);
}

TEST(ActivationClustering, LeavesNothingOutWhereClustersAreNotApart) {
  const PoisonedSet set = test::striped(200, 0, 60);
  const Trained filter = test::train_defense(make_activation_clustering(), set.data,
                                             {{"epochs", 1}, {"probe-epochs", 1}, {"silhouette", 1.0}});
  EXPECT_FALSE(test::held_of_samples(*filter.defense).ge(0).any().item<bool>());
}

TEST(Filter, ResumedEqualsWhole) {
  const PoisonedSet set = test::striped(96, 10);
  test::expect_resumed_equals_whole(make_spectral_signatures, set.data, {{"epochs", 2}, {"probe-epochs", 1}},
                                    {1, 3, 4, 5, 6});
}

TEST(Filter, RefusesToTrainOnNothing) {
  const PoisonedSet set = test::striped(40, 4);
  EXPECT_THROW(
      test::train_defense(make_strip(), set.data, {{"epochs", 1}, {"probe-epochs", 1}, {"overlays", 1}}),
      Error)
      << "no clean images";
}

TEST(Strip, SuperimposesByHand) {
  const at::Tensor sum = superimposed(at::tensor({0.25F, 0.5F}).view({1, 1, 1, 2}),
                                      at::tensor({0.5F, 0.75F}).view({1, 1, 1, 2}));
  EXPECT_TRUE(sum.equal(at::tensor({0.75F, 1.0F}).view({1, 1, 1, 2})));
}

TEST(Strip, DefendsByWhatStaysSureUnderOverlays) {
  const PoisonedSet set = test::striped(600, 60, 60);
  const DatasetPtr clean = test::striped(200, 0, 60).data;
  const Trained filter = test::train_defense(
      make_strip(), set.data,
      {{"epochs", 5}, {"probe-epochs", 5}, {"lr", 0.05}, {"overlays", 16}, {"false-rejection", 0.1}}, clean);
  EXPECT_EQ(filter.defense->assumes(), "clean images");
  const at::Tensor out = test::held_of_samples(*filter.defense).ge(0);
  EXPECT_GT(share_of(out, set.poisoned), 0.95);
  EXPECT_NEAR(share_of(out, set.poisoned.logical_not()), 0.1, 0.05) << "as many as are accepted";
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_LT(test::attack_success(*filter.defense, set), 0.1);
  EXPECT_GT(test::clean_accuracy(*filter.defense, set), 0.9);
}

TEST(Frequency, MakesEveryTriggerAndLeavesTheInput) {
  const at::Tensor images = at::full({200, 3, 16, 16}, 0.5);
  Rng rng(3);
  const at::Tensor triggered = with_synthetic_triggers(images, rng);
  EXPECT_TRUE(images.eq(0.5).all().item<bool>());
  EXPECT_GE(triggered.min().item<float>(), 0);
  EXPECT_LE(triggered.max().item<float>(), 1);
  // White pixels, a mixture of one half and 0.3 of it, a halved side, and what is left of each.
  EXPECT_GT(triggered.eq(1).flatten(1).any(1).sum().item<std::int64_t>(), 20);
  EXPECT_GT(at::isclose(triggered, at::full({}, 0.65)).flatten(1).all(1).sum().item<std::int64_t>(), 20);
  EXPECT_GT(triggered.eq(0.25).flatten(1).any(1).sum().item<std::int64_t>(), 20);
  EXPECT_EQ(triggered.eq(images).flatten(1).all(1).sum().item<std::int64_t>(), 0) << "none is left as it was";
}

TEST(Frequency, LearnsFromCleanImagesAndDefendsAgainstThePatch) {
  const PoisonedSet set = test::striped(600, 60, 60);
  const DatasetPtr clean = test::striped(400, 0, 60).data;
  const Trained filter = test::train_defense(make_frequency(), set.data,
                                             {{"epochs", 5}, {"lr", 0.05}, {"detector-epochs", 20}}, clean);
  EXPECT_EQ(filter.defense->source(0, set.data), clean);
  EXPECT_EQ(filter.defense->source(1, set.data), set.data);
  const at::Tensor out = test::held_of_samples(*filter.defense).ge(0);
  EXPECT_GT(share_of(out, set.poisoned), 0.95);
  EXPECT_LT(share_of(out, set.poisoned.logical_not()), 0.1);
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_LT(test::attack_success(*filter.defense, set), 0.1);
  EXPECT_GT(test::clean_accuracy(*filter.defense, set), 0.9);
}

}  // namespace
}  // namespace mcci
