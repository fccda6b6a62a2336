// Isolation by loss, and the defenses that rest on it.
#include "mcci/baselines/isolation.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/baselines/abl.hpp"
#include "mcci/baselines/loss_isolation.hpp"
#include "tests/baselines/testing.hpp"

namespace mcci {
namespace {

using test::PoisonedSet;
using test::Trained;

std::vector<std::int64_t> values(const at::Tensor& positions) {
  return {positions.data_ptr<std::int64_t>(), positions.data_ptr<std::int64_t>() + positions.numel()};
}

TEST(Isolation, HoldsTheLossUpByHand) {
  const auto gradient = [](const std::string& how, double value) {
    IsolationOptions options;
    options.isolation_loss = how;
    const at::Tensor loss = at::full({}, value).requires_grad_();
    const at::Tensor held = options.held_up({loss, {}}).loss;
    held.backward();
    return std::pair(held.item<float>(), loss.grad().item<float>());
  };
  EXPECT_EQ(gradient("flooding", 2.0), std::pair(2.0F, 1.0F));
  EXPECT_EQ(gradient("flooding", 0.25), std::pair(0.75F, -1.0F));
  EXPECT_EQ(gradient("lga", 2.0), std::pair(2.0F, 1.0F));
  EXPECT_EQ(gradient("lga", 0.25), std::pair(-0.25F, -1.0F));
  EXPECT_EQ(gradient("none", 0.25), std::pair(0.25F, 1.0F));
}

TEST(Isolation, FlagsTheHighestScores) {
  const at::Tensor scores = at::tensor({3.0F, 1.0F, 4.0F, 1.5F, 9.0F, 2.0F, 6.0F, 5.0F, 3.5F, 8.0F});
  const at::Tensor suspicion = flag_highest(scores, 0.3);
  EXPECT_THAT(values(flagged(suspicion)), ::testing::ElementsAre(4, 6, 9));
  EXPECT_THAT(values(unflagged(suspicion)), ::testing::ElementsAre(0, 1, 2, 3, 5, 7, 8));
  EXPECT_FLOAT_EQ(suspicion[0].item<float>(), -3.0F);
  EXPECT_EQ(flagged(flag_highest(scores, 0.01)).numel(), 1) << "at least one";
  EXPECT_EQ(flagged(flag_highest(at::ones({5}), 0.2)).numel(), 5) << "equals stand or fall together";
}

TEST(Isolation, LossesAreThoseOfTheRecordedLabels) {
  at::manual_seed(3);
  const PoisonedSet set = test::striped(37, 4);
  const auto network = make_backbone({"resnet8", 1, 16, 4, 8});
  const at::Tensor losses = sample_losses(*network, set.data, Compute{});
  const at::NoGradGuard no_grad;
  const at::Tensor p = network->forward(to_unit(set.data->images(at::arange(37)))).softmax(1);
  ASSERT_EQ(losses.size(0), 37);
  for (const std::int64_t i : {0, 1, 36}) {
    const double expected = -std::log(p[i][set.data->labels()[i].item<std::int64_t>()].item<double>());
    EXPECT_NEAR(losses[i].item<double>(), expected, 1e-5);
  }
}

Json abl_options() {
  return {{"epochs", 4},
          {"lr", 0.05},
          {"isolation-epochs", 2},
          {"isolation-lr", 0.01},
          {"isolation-share", 0.075},
          {"unlearning-epochs", 10},
          {"unlearning-lr", 1e-3}};
}

TEST(Abl, IsolatesPoisonAndUnlearnsIt) {
  const PoisonedSet set = test::striped(600, 60);
  const std::vector<Trained> abl = test::train_thrice(make_abl, set.data, abl_options());
  EXPECT_EQ(test::held_of_samples(*abl.front().defense).ge(0).sum().item<std::int64_t>(), 45);
  EXPECT_GT(test::median(abl, test::poison_suspected, set), 36.0 / 60);

  Json without = abl_options();
  without["unlearning-epochs"] = 0;
  const Trained before = test::train_defense(make_abl(), set.data, without);
  EXPECT_GT(test::attack_success(*before.defense, set), 0.9) << "the other poison is still there";
  EXPECT_LT(test::median(abl, test::attack_success, set), 0.1);
  // Part of the first class, whose label the isolated samples bear, is unlearned with them.
  EXPECT_GT(test::median(abl, test::recovered, set), 0.4);
  EXPECT_GT(test::median(abl, test::clean_accuracy, set), 0.5);
}

TEST(Abl, TrainsItsPhasesOnTheirSamples) {
  const PoisonedSet set = test::striped(100, 10);
  const Trained abl = test::train_defense(
      make_abl(), set.data, {{"epochs", 1}, {"unlearning-epochs", 1}, {"isolation-share", 0.1}});
  ASSERT_EQ(abl.state.history.size(), 3U);
  EXPECT_EQ(abl.state.history[0]["phase"], "isolation");
  EXPECT_EQ(abl.state.history[1]["phase"], "fine-tuning");
  EXPECT_LT(abl.state.history[2]["loss"].get<double>(), 0) << "ascent";
  EXPECT_EQ(abl.defense->pool(1).numel(), 90);
  EXPECT_EQ(abl.defense->pool(2).numel(), 10);
  EXPECT_FALSE(abl.defense->pool(0).defined());
  EXPECT_EQ(abl.defense->assumes(), "");
}

TEST(Abl, CutsHolesIntoTheImagesOfTheFineTuningAlone) {
  const PoisonedSet set = test::striped(64, 6);
  Json options = {{"epochs", 1}, {"unlearning-epochs", 0}, {"isolation-share", 0.1}, {"cutout", 0}};
  const Trained whole = test::train_defense(make_abl(), set.data, options);
  options["cutout"] = 6;
  const Trained cut = test::train_defense(make_abl(), set.data, options);
  EXPECT_EQ(whole.state.history[0]["loss"], cut.state.history[0]["loss"]);
  EXPECT_NE(whole.state.history[1]["loss"], cut.state.history[1]["loss"]);
}

// Learning rates that were published for sgd mean something else to AdamW.
TEST(Abl, IsolatesAndUnlearnsBySgdWhateverFineTunes) {
  const PoisonedSet set = test::striped(600, 60);
  Json options = abl_options();
  options.update(
      {{"epochs", 6}, {"optimizer", "adamw"}, {"lr", 3e-3}, {"weight-decay", 0.05}, {"unlearning-lr", 5e-4}});
  const std::vector<Trained> abl = test::train_thrice(make_abl, set.data, options);
  EXPECT_GT(test::median(abl, test::poison_suspected, set), 40.0 / 60) << "45 are isolated";
  EXPECT_LT(test::median(abl, test::attack_success, set), 0.1);
  EXPECT_GT(test::median(abl, test::recovered, set), 0.7);
  EXPECT_GT(test::median(abl, test::clean_accuracy, set), 0.6);

  TrainOptions adamw;
  adamw.optimizer.optimizer = "adamw";
  adamw.optimizer.weight_decay = 0.05;
  adamw.optimizer.average = 0.99;
  const std::vector<Phase> phases = abl.front().defense->phases(adamw);
  for (const std::size_t own : {0U, 2U}) {
    EXPECT_EQ(phases[own].optimizer.optimizer, "sgd");
    EXPECT_EQ(phases[own].optimizer.momentum, 0.9);
    EXPECT_EQ(phases[own].optimizer.weight_decay, 5e-4);
    EXPECT_EQ(phases[own].optimizer.average, 0);
    EXPECT_EQ(phases[own].schedule.schedule, "constant");
  }
  EXPECT_EQ(phases[1].optimizer.optimizer, "adamw");
  EXPECT_EQ(phases[1].optimizer.weight_decay, 0.05);
  EXPECT_EQ(phases[1].optimizer.average, 0.99);
}

TEST(Abl, ResumedEqualsWhole) {
  const PoisonedSet set = test::striped(96, 10);
  // 3 steps of isolation, 3 of fine-tuning, then 1 for each epoch of unlearning.
  test::expect_resumed_equals_whole(make_abl, set.data,
                                    {{"epochs", 1}, {"unlearning-epochs", 2}, {"isolation-share", 0.1}},
                                    {2, 3, 4, 6, 7});
}

TEST(LossIsolation, LeavesOutWhatIsLearnedFirst) {
  const PoisonedSet set = test::striped(600, 60);
  const Trained filter = test::train_defense(make_loss_isolation(), set.data,
                                             {{"epochs", 5},
                                              {"isolation-epochs", 2},
                                              {"isolation-lr", 0.01},
                                              {"isolation-share", 0.15},
                                              {"lr", 0.05}});
  const at::Tensor out = test::held_of_samples(*filter.defense).ge(0);
  EXPECT_EQ(out.sum().item<std::int64_t>(), 90);
  EXPECT_GE(out.logical_and(set.poisoned).sum().item<std::int64_t>(), 58);
  EXPECT_GT(test::undefended_success(set), 0.9);
  EXPECT_LT(test::attack_success(*filter.defense, set), 0.2);
  EXPECT_GT(test::clean_accuracy(*filter.defense, set), 0.8);
}

}  // namespace
}  // namespace mcci
