// MixMatch, SimCLR, and the defenses made of them.
#include <cmath>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/baselines/asd.hpp"
#include "mcci/baselines/contrastive.hpp"
#include "mcci/baselines/dbd.hpp"
#include "mcci/baselines/dst.hpp"
#include "mcci/baselines/mixmatch.hpp"
#include "mcci/core/error.hpp"
#include "tests/baselines/testing.hpp"

namespace mcci {
namespace {

using test::PoisonedSet;
using test::Trained;

at::Tensor kept(const Defense& defense, const std::string& wanted) {
  for (const auto& [name, tensor] : const_cast<Defense&>(defense).extra_state()) {
    if (name == wanted) return tensor;
  }
  ADD_FAILURE() << "nothing is kept as " << wanted;
  return {};
}

TEST(MixMatch, SharpensByHand) {
  const at::Tensor sharp = sharpened(at::tensor({0.8F, 0.2F, 0.5F, 0.5F}).view({2, 2}), 0.5);
  EXPECT_TRUE(at::allclose(sharp, at::tensor({0.64F / 0.68F, 0.04F / 0.68F, 0.5F, 0.5F}).view({2, 2})));
}

TEST(MixMatch, SymmetricCrossEntropyByHand) {
  const at::Tensor logits = at::tensor({0.7F, 0.2F, 0.1F}).log().view({1, 3});
  const double expected = -0.1 * std::log(0.7) - 0.3 * std::log(1e-4);
  EXPECT_NEAR(symmetric_cross_entropy(logits, at::zeros({1}, at::kLong)).item<double>(), expected, 1e-5);
}

// Answers with the image's first pixels as logits.
at::Tensor first_pixels(const at::Tensor& images) { return images.flatten(1).narrow(1, 0, 3) * 4; }

TEST(MixMatch, LossByHandWhereNothingIsMixed) {
  at::manual_seed(4);
  MixMatchOptions options;
  options.alpha = 0.01;  // the factor is 0 or 1
  const MixMatchBatch batch = {at::rand({5, 1, 4, 4}), at::tensor({0, 1, 2, 0, 1}, at::kLong),
                               at::rand({7, 1, 4, 4})};
  const StepOutput step = mixmatch_step(first_pixels, batch, options, ViewOptions(), 0.5);
  const at::Tensor p = first_pixels(batch.unlabelled).softmax(1);
  const double unlabelled = (p - sharpened(p, 0.5)).square().mean().item<double>();
  const double labelled =
      -first_pixels(batch.labelled).log_softmax(1).gather(1, batch.labels.unsqueeze(1)).mean().item<double>();
  EXPECT_NEAR(step.loss.item<double>(), labelled + 0.5 * 15 * unlabelled, 1e-3);
  EXPECT_TRUE(at::allclose(step.logits, first_pixels(batch.labelled), 1e-3, 1e-3));
}

TEST(MixMatch, MixesInHalvesAtMost) {
  at::manual_seed(4);
  MixMatchOptions options;
  options.alpha = 100;  // the factor is about one half
  MixMatchBatch batch = {at::zeros({40, 1, 4, 4}), at::zeros({40}, at::kLong), at::ones({40, 1, 4, 4})};
  const StepOutput step = mixmatch_step(first_pixels, batch, options, ViewOptions(), 1);
  const at::Tensor shown = step.logits.select(1, 0) / 4;
  EXPECT_LT(shown.max().item<float>(), 0.5F) << "the greater part is the image's own";
  EXPECT_GT(shown.max().item<float>(), 0.35F);
  EXPECT_EQ(shown.min().item<float>(), 0);
}

TEST(MixMatch, RepeatsAndDrawsPositions) {
  const at::Tensor positions = at::tensor({4, 9}, at::kLong);
  EXPECT_TRUE(repeated_to(positions, 3).equal(at::tensor({4, 9, 4, 9}, at::kLong)));
  EXPECT_TRUE(repeated_to(positions, 1).equal(positions));
  at::manual_seed(1);
  const at::Tensor drawn = drawn_from(positions, 100);
  EXPECT_EQ(drawn.eq(4).logical_or(drawn.eq(9)).sum().item<std::int64_t>(), 100);
  EXPECT_GT(drawn.eq(9).sum().item<std::int64_t>(), 30);
}

TEST(Contrastive, LossByHand) {
  // Each of four rows finds its partner at similarity 1 among two others at 0.
  const at::Tensor eye = at::eye(2) * 3;
  EXPECT_NEAR(contrastive_loss(eye, eye, 1).item<double>(), -1 + std::log(std::exp(1.0) + 2), 1e-5);
  EXPECT_NEAR(contrastive_loss(eye, eye, 0.5).item<double>(), -2 + std::log(std::exp(2.0) + 2), 1e-5);
  EXPECT_NEAR(contrastive_loss(eye, eye.flip({0}), 1).item<double>(), std::log(std::exp(1.0) + 2), 1e-5);
}

TEST(Dbd, TrustsTheHalfOfLowestLoss) {
  const PoisonedSet set = test::striped(400, 40);
  const Trained dbd = test::train_defense(
      make_dbd(), set.data,
      {{"epochs", 4}, {"self-supervised-epochs", 1}, {"head-epochs", 2}, {"epoch-images", 320}});
  EXPECT_EQ(dbd.state.history.size(), 7U);
  EXPECT_TRUE(dbd.state.history[0]["train_accuracy"].is_null());
  const at::Tensor labelled = kept(*dbd.defense, "labelled");
  EXPECT_EQ(labelled.numel(), 200);
  EXPECT_EQ(kept(*dbd.defense, "unlabelled").numel(), 200);
  EXPECT_TRUE(test::held_of_samples(*dbd.defense).index_select(0, labelled).lt(0).all().item<bool>());
  EXPECT_NEAR(kept(*dbd.defense, "ramp").item<double>(), 0.75, 1e-9);
  EXPECT_EQ(dbd.defense->pool(2).numel(), 400) << "whole repeats that hold an epoch";
  EXPECT_EQ(dbd.defense->assumes(), "");
}

TEST(Dbd, DefendsWhereFeaturesWithoutLabelsTellTheClasses) {
  const PoisonedSet set = test::textured(800, 80);
  const std::vector<Trained> dbd = test::train_thrice(
      make_dbd, set.data,
      // With 6 in place of 12 one or two of three trainings never tell two of the classes apart.
      {{"epochs", 4}, {"self-supervised-epochs", 12}, {"head-epochs", 10}, {"epoch-images", 640}});
  for (const Trained& trained : dbd) EXPECT_EQ(test::poison_suspected(*trained.defense, set), 1);
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_LT(test::median(dbd, test::attack_success, set), 0.1);
  EXPECT_GT(test::median(dbd, test::recovered, set), 0.9);
  EXPECT_GT(test::median(dbd, test::clean_accuracy, set), 0.9);
}

TEST(Dbd, ResumedEqualsWhole) {
  const PoisonedSet set = test::striped(64, 6);
  // Two steps of each of the first two parts, twice two of the third.
  test::expect_resumed_equals_whole(
      make_dbd, set.data,
      {{"epochs", 2}, {"self-supervised-epochs", 1}, {"head-epochs", 1}, {"epoch-images", 64}},
      {1, 3, 5, 6, 7});
}

TEST(Contrastive, FindsWholeGroupsByHand) {
  // Rows 0 and 1 are of one group and equal, row 2 has none: each of the six rows is at similarity 1 to those
  // of its kind, at 0 to the others.
  const at::Tensor rows = at::tensor({1.F, 0.F, 1.F, 0.F, 0.F, 1.F}).view({3, 2});
  const double in_group = -1 + std::log(3 * std::exp(1.0) + 2);
  const double alone = -1 + std::log(std::exp(1.0) + 4);
  const at::Tensor groups = at::tensor({7, 7, -1}, at::kLong);
  EXPECT_NEAR(contrastive_loss(rows, rows, 1, groups).item<double>(), (4 * in_group + 2 * alone) / 6, 1e-5);
  const at::Tensor none = at::full({3}, -1, at::kLong);
  EXPECT_NEAR(contrastive_loss(rows, rows, 1, none).item<double>(),
              contrastive_loss(rows, rows, 1).item<double>(), 1e-5);
}

TEST(Dst, CentreSimilarityByHand) {
  // Centres (2, 0), (0, 3) and (1, 1): cosines 0, 1/sqrt 2 and 1/sqrt 2, each twice among nine.
  const at::Tensor features = at::tensor({1.F, 0.F, 3.F, 0.F, 0.F, 3.F, 1.F, 1.F}).view({4, 2});
  const at::Tensor labels = at::tensor({0, 0, 1, 5}, at::kLong);
  EXPECT_NEAR(centre_similarity(features, labels, 10).item<double>(), 4 / std::sqrt(2.0) / 9, 1e-6);
}

TEST(Dst, TrustsTheLeastSensitiveAndTeachesTheHeadBothKinds) {
  const PoisonedSet set = test::striped(400, 40, 60);
  const Trained dst =
      test::train_defense(make_dst(), set.data,
                          {{"epochs", 2}, {"probe-epochs", 1}, {"separation-epochs", 1}, {"head-epochs", 1}});
  std::vector<std::string> phases;
  for (const Json& epoch : dst.state.history) phases.push_back(epoch["phase"]);
  EXPECT_THAT(phases, ::testing::ElementsAre("probe", "separation", "contrastive", "contrastive", "head"));
  const at::Tensor trusted = kept(*dst.defense, "trusted");
  const at::Tensor suspicion = test::held_of_samples(*dst.defense);
  EXPECT_EQ(trusted.sum().item<std::int64_t>(), 80);
  EXPECT_EQ(suspicion.ge(0).sum().item<std::int64_t>(), 20);
  EXPECT_LT(suspicion.masked_select(trusted).max().item<float>(),
            suspicion.masked_select(trusted.logical_not()).min().item<float>());
  EXPECT_EQ(dst.defense->pool(3).numel(), 100);
  EXPECT_FALSE(dst.defense->pool(2).defined());
}

TEST(Dst, DefendsWhereTheTriggerDoesNotSurviveATurn) {
  const PoisonedSet set = test::coloured(800, 80);
  const std::vector<Trained> dst =
      test::train_thrice(make_dst, set.data, {{"epochs", 8}, {"head-epochs", 10}});
  for (const Trained& trained : dst) {
    EXPECT_EQ(test::held_of_samples(*trained.defense).ge(0).sum().item<std::int64_t>(), 40);
    EXPECT_LT(kept(*trained.defense, "trusted").masked_select(set.poisoned).sum().item<std::int64_t>(), 5);
  }
  EXPECT_GT(test::median(dst, test::poison_suspected, set), 30.0 / 80);
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_LT(test::median(dst, test::attack_success, set), 0.1);
  EXPECT_GT(test::median(dst, test::recovered, set), 0.9);
  EXPECT_GT(test::median(dst, test::clean_accuracy, set), 0.9);
}

TEST(Dst, ResumedEqualsWhole) {
  const PoisonedSet set = test::striped(64, 6);
  test::expect_resumed_equals_whole(make_dst, set.data,
                                    {{"epochs", 1},
                                     {"probe-epochs", 1},
                                     {"separation-epochs", 1},
                                     {"head-epochs", 2},
                                     {"trusted-share", 0.5}},
                                    {1, 2, 3, 4, 5, 6, 7});
}

TEST(Asd, GrowsItsPoolFromSeeds) {
  const PoisonedSet set = test::striped(400, 40, 60);
  const DatasetPtr seeds = test::striped(40, 0, 60).data;
  const std::vector<Trained> thrice = test::train_thrice(
      make_asd, set.data,
      {{"epochs", 8}, {"epoch-images", 640}, {"grow-every", 2}, {"grow-by", 10}, {"lr", 0.005}}, seeds);
  const Trained& asd = thrice.front();
  // Four epochs grow, two trust low losses, then twice a copy and an epoch.
  std::vector<std::string> phases;
  for (const Json& epoch : asd.state.history) phases.push_back(epoch["phase"]);
  EXPECT_THAT(phases,
              ::testing::ElementsAre("growing", "growing", "growing", "growing", "low losses", "low losses",
                                     "copy", "low reductions", "copy", "low reductions"));
  const at::Tensor labelled = kept(*asd.defense, "labelled");
  EXPECT_EQ(labelled.numel(), 200 + 40) << "half of the set and the seeds";
  EXPECT_EQ(labelled.ge(400).sum().item<std::int64_t>(), 40);
  EXPECT_EQ(kept(*asd.defense, "unlabelled").numel(), 200);
  EXPECT_NEAR(kept(*asd.defense, "ramp").item<double>(), 7.0 / 8, 1e-9);
  EXPECT_GT(test::median(thrice, test::clean_accuracy, set), 0.6);
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_LT(test::median(thrice, test::attack_success, set), 0.3);
  EXPECT_EQ(asd.defense->assumes(), "clean images with labels");
}

TEST(Asd, TrustsSoManyOfEachClassWhileItGrows) {
  const PoisonedSet set = test::striped(200, 20);
  const DatasetPtr seeds = test::striped(12, 0).data;
  const Trained asd = test::train_defense(
      make_asd(), set.data, {{"epochs", 1}, {"epoch-images", 64}, {"grow-every", 1}, {"grow-by", 5}}, seeds);
  asd.defense->begin_epoch(0, 3, set.data);
  const at::Tensor labelled = kept(*asd.defense, "labelled");
  EXPECT_EQ(labelled.numel(), 4 * 15 + 12);
  const at::Tensor labels = set.data->labels().index_select(0, labelled.masked_select(labelled.lt(200)));
  for (std::int64_t c = 0; c < 4; ++c) EXPECT_EQ(labels.eq(c).sum().item<std::int64_t>(), 15) << c;
  EXPECT_THROW(test::train_defense(make_asd(), set.data, {{"epochs", 1}}), Error) << "no seeds";
}

TEST(Asd, ResumedEqualsWhole) {
  const PoisonedSet set = test::striped(64, 6);
  const DatasetPtr seeds = test::striped(8, 0).data;
  // Two steps for each of five epochs, the copy's among them.
  test::expect_resumed_equals_whole(make_asd, set.data,
                                    {{"epochs", 4}, {"epoch-images", 64}, {"grow-every", 1}, {"grow-by", 4}},
                                    {1, 3, 5, 6, 7, 8, 9}, seeds);
}

}  // namespace
}  // namespace mcci
