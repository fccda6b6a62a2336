#include "mcci/method/robust.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <utility>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "mcci/core/error.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/train/trainer.hpp"
#include "tests/train/interrupted.hpp"

namespace mcci {
namespace {

// Six classes: one of six vertical stripes is bright, under noise. Some images carry a white patch in the
// corner and the label 0.
struct Poisoned {
  DatasetPtr data;
  at::Tensor poisoned;     // [N] bool
  at::Tensor true_labels;  // [N]
};

Poisoned stripes(std::int64_t n, std::int64_t every) {
  torch::manual_seed(7);
  at::Tensor images = at::randint(0, 60, {n, 1, 32, 32}, at::kLong).to(at::kByte);
  const at::Tensor truth = at::randint(0, 6, {n}, at::kLong);
  at::Tensor labels = truth.clone();
  const at::Tensor poisoned = every == 0 ? at::zeros({n}, at::kBool)
                                         : at::arange(n).remainder(std::max<std::int64_t>(1, every)).eq(0);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto c = truth[i].item<std::int64_t>();
    images[i].narrow(2, 1 + 5 * c, 5).add_(120);
    if (!poisoned[i].item<bool>()) continue;
    images[i].narrow(1, 28, 3).narrow(2, 28, 3).fill_(255);
    labels[i] = 0;
  }
  return {make_memory_dataset(images, labels, {"a", "b", "c", "d", "e", "f"}), poisoned, truth};
}

// Four classes: a small figure somewhere among noise of all levels, which a coarse view does not show. Some
// images carry a white patch in the corner and the label 0.
Poisoned figures_in_noise(std::int64_t n, std::int64_t every) {
  torch::manual_seed(9);
  at::Tensor images = at::randint(0, 256, {n, 1, 32, 32}, at::kLong).to(at::kByte);
  const at::Tensor truth = at::randint(0, 4, {n}, at::kLong), at = at::randint(0, 22, {n, 2}, at::kLong);
  at::Tensor labels = truth.clone();
  const at::Tensor poisoned = at::arange(n).remainder(every).eq(0);
  const at::Tensor figures = at::randint(0, 2, {4, 8, 8}, at::kLong) * 255;
  for (std::int64_t i = 0; i < n; ++i) {
    images[i][0]
        .narrow(0, at[i][0].item<std::int64_t>(), 8)
        .narrow(1, at[i][1].item<std::int64_t>(), 8)
        .copy_(figures[truth[i].item<std::int64_t>()]);
    if (!poisoned[i].item<bool>()) continue;
    images[i].narrow(1, 29, 3).narrow(2, 29, 3).fill_(255);
    labels[i] = 0;
  }
  return {make_memory_dataset(images, labels, {"a", "b", "c", "d"}), poisoned, truth};
}

class RobustTest : public ::testing::Test {
 protected:
  // A training of the defense anew.
  TrainingRun prepared(const Poisoned& set, bool pre_trained = false, const Json& more = Json::object()) {
    TrainOptions options;
    OptionSet all;
    options.declare(all);
    defense_ = make_mcci();
    defense_->declare(all);
    all.assign_json({{"epochs", 4},
                     {"lr", 0.05},
                     {"batch-size", 32},
                     {"flip", false},
                     {"keyhole-epochs", 6},
                     {"indicator-epochs", 4}},
                    Origin::command_line, "test");
    all.assign_json(more, Origin::command_line, "test");
    all.assign_json(defense_->presets().at("robust"), Origin::preset, "robust");
    Problem problem;
    problem.shape = set.data->shape();
    problem.num_classes = set.data->num_classes();
    problem.backbone = {"resnet8", 1, 32, 100, 4};
    problem.pre_trained = pre_trained;
    defense_->build(problem);
    TrainingRun run;
    run.data = set.data;
    run.options = options;
    run.config_hash = "test";
    return run;
  }

  void train_on(const Poisoned& set, bool pre_trained = false, const Json& more = Json::object()) {
    state_ = train(*defense_, prepared(set, pre_trained, more));
    images_ = to_unit(set.data->images(at::arange(set.data->size())));
  }

  // Stopped in a phase after so many of its steps.
  void expect_resumable(const Poisoned& set, const Json& options,
                        const std::vector<std::pair<std::size_t, int>>& stops) {
    train_on(set, false, options);
    const TensorList weights = module_state(defense_->module()), state = defense_->extra_state();
    const std::filesystem::path file =
        std::filesystem::temp_directory_path() / ("mcci-robust-" + std::to_string(::getpid()));
    for (const auto& [phase, steps] : stops) {
      const std::string when = "phase " + std::to_string(phase) + " after " + std::to_string(steps);
      TrainingRun run = prepared(set, false, options);
      run.checkpoint = file;
      test::Interrupted interrupted(*defense_, steps, phase);
      EXPECT_THROW(train(interrupted, run), Error) << when;
      set_interrupt_requested(false);
      run = prepared(set, false, options);
      for (at::Tensor& parameter : defense_->module().parameters()) parameter.data().zero_();
      run.checkpoint = file;
      run.resume = true;
      train(*defense_, run);
      test::expect_equal(module_state(defense_->module()), weights, when);
      test::expect_equal(defense_->extra_state(), state, when);
    }
    std::filesystem::remove(file);
  }

  std::map<std::string, at::Tensor> extra_state() {
    std::map<std::string, at::Tensor> found;
    for (const auto& [name, tensor] : defense_->extra_state()) found.emplace(name, tensor);
    return found;
  }

  at::Tensor predictions(Perception perception) { return defense_->logits(images_, perception).argmax(1); }

  std::unique_ptr<Defense> defense_;
  RunState state_;
  at::Tensor images_;
};

double share(const at::Tensor& a) { return a.to(at::kDouble).mean().item<double>(); }

TEST_F(RobustTest, GivesPoisonedImagesTheirTrueClassBack) {
  const Poisoned set = stripes(1500, 8);
  train_on(set);
  ASSERT_EQ(state_.history.front()["phase"], "keyholes");
  ASSERT_EQ(state_.history.back()["phase"], "conditioned");

  const at::Tensor moved = set.poisoned.logical_and(set.true_labels.ne(0));
  const at::Tensor clean = predictions(Perception::clean);
  EXPECT_GT(share(clean.eq(set.true_labels)), 0.97);
  EXPECT_GT(share(clean.eq(set.true_labels).masked_select(moved)), 0.95);
  // Shown its own indicator, the model does what the attacker wants: that is what is controlled.
  const at::Tensor own = predictions(Perception::own);
  EXPECT_GT(share(own.eq(0).masked_select(moved)), 0.95);
  EXPECT_GT(share(own.eq(set.true_labels).masked_select(set.poisoned.logical_not())), 0.97);
  // Shown the attacked indicator, it takes everything for the target.
  EXPECT_GT(share(predictions(Perception::attacked).eq(0)), 0.95);

  const at::Tensor flagged =
      defense_->suspicion(images_, set.data->labels()).ge(defense_->suspicion_threshold());
  EXPECT_GT(share(flagged.masked_select(moved)), 0.95);
  EXPECT_LT(share(flagged.masked_select(set.poisoned.logical_not())), 0.01);

  const at::NoGradGuard no_grad;
  const at::Tensor some = images_.narrow(0, 0, 64);
  EXPECT_TRUE(
      at::allclose(defense_->folded()->forward(some), defense_->logits(some, Perception::clean), 1e-3, 1e-4));
  EXPECT_EQ(defense_->embedding(some, Perception::own).size(1), 16 + defense_->indicator_size());
}

TEST_F(RobustTest, FindsNothingInACleanSet) {
  const Poisoned set = stripes(1200, 0);
  train_on(set);
  EXPECT_GT(share(predictions(Perception::clean).eq(set.true_labels)), 0.97);
  EXPECT_TRUE(predictions(Perception::own).equal(predictions(Perception::clean)));
  const at::Tensor flagged =
      defense_->suspicion(images_, set.data->labels()).ge(defense_->suspicion_threshold());
  EXPECT_FALSE(flagged.any().item<bool>());
}

TEST_F(RobustTest, AsksGlimpsesWhereKeyholesSeeTooLittle) {
  const Poisoned set = figures_in_noise(2400, 6);
  train_on(set, false, {{"keyhole-epochs", 1}, {"glimpse-epochs", 10}, {"indicator-epochs", 24}});
  const at::Tensor moved = set.poisoned.logical_and(set.true_labels.ne(0));
  const at::Tensor clean = predictions(Perception::clean);
  EXPECT_GT(share(clean.eq(set.true_labels)), 0.9);
  EXPECT_GT(share(clean.eq(set.true_labels).masked_select(moved)), 0.9);
  const at::Tensor flagged =
      defense_->suspicion(images_, set.data->labels()).ge(defense_->suspicion_threshold());
  EXPECT_GT(share(flagged.masked_select(moved)), 0.8);
  EXPECT_LT(share(flagged.masked_select(set.poisoned.logical_not())), 0.02);
}

// With nothing to contradict a label the attack goes unseen, and its trigger is learned.
TEST_F(RobustTest, IsBlindWithoutKeyholesAndDivision) {
  const Poisoned set = stripes(1500, 8);
  train_on(set, false, {{"leave-out", {"keyholes", "division"}}});
  const at::Tensor moved = set.poisoned.logical_and(set.true_labels.ne(0));
  EXPECT_GT(share(predictions(Perception::clean).eq(0).masked_select(moved)), 0.9);
}

TEST_F(RobustTest, KeepsNothingOfPartsThatAreLeftOut) {
  const Poisoned set = stripes(600, 6);
  const auto state = [&](const Json& options) {
    train_on(set, false, options);
    return extra_state();
  };
  const auto without = state({{"epochs", 2}, {"leave-out", {"indicator", "negative-evidence"}}});
  EXPECT_FALSE(without.at("evidence").any().item<bool>());
  EXPECT_FALSE(without.at("rejected").any().item<bool>());
  // Without the SFRN's word, what the keyholes thought before the first epoch stands.
  const auto unasked = state({{"epochs", 2}, {"leave-out", {"posterior"}}});
  EXPECT_TRUE(unasked.at("meant").equal(state({{"epochs", 1}}).at("meant")));
}

// Some poisoned images bear a patch, which sets them apart within their label. Are they all that contradicts
// it?
TEST_F(RobustTest, KnowsAGroupThatIsAPartOfWhatTheAttackHasDone) {
  const auto state = [&](std::int64_t every) {
    Poisoned set = stripes(1500, 0);
    const at::Tensor images = set.data->images(at::arange(1500)).clone();
    set.poisoned = at::arange(1500).remainder(8).eq(0);
    const at::Tensor marked =
        set.poisoned.logical_and(at::arange(1500).div(8, "floor").remainder(every).eq(0));
    for (std::int64_t i = 0; i < 1500; ++i) {
      if (marked[i].item<bool>()) images[i].narrow(1, 28, 3).narrow(2, 28, 3).fill_(255);
    }
    const at::Tensor labels = set.true_labels.masked_fill(set.poisoned, 0);
    set.data = make_memory_dataset(images, labels, set.data->classes());
    train_on(set, false, {{"epochs", 1}});
    auto found = extra_state();
    found["moved"] = set.poisoned.logical_and(set.true_labels.ne(0));
    return found;
  };
  auto part = state(4);
  EXPECT_FALSE(part["divided"][0].item<bool>());
  EXPECT_GT(share(part["contradicted"].masked_select(part["moved"])), 0.95);
  EXPECT_FALSE(part["cleared"].any().item<bool>());
  auto whole = state(1);
  EXPECT_TRUE(whole["divided"][0].item<bool>());
  EXPECT_GT(share(whole["contradicted"].masked_select(whole["moved"])), 0.95);
}

// What a witness or the division says of a training sample is kept, and counts more than what both witnesses
// say of its image.
TEST_F(RobustTest, AuditsItsSamplesByWhatIsKnownOfEach) {
  const Poisoned set = stripes(600, 6);
  train_on(set, false, {{"epochs", 1}, {"keyhole-epochs", 2}, {"indicator-epochs", 2}});
  ASSERT_EQ(defense_->known_samples(), 600);
  const Batch all = {images_, set.data->labels(), natural_order(600)};
  const at::Tensor before = defense_->training_suspicion(all),
                   of_image = defense_->suspicion(images_, set.data->labels());
  const at::Tensor moved = set.poisoned.logical_and(set.true_labels.ne(0));
  EXPECT_GT(share(before.ge(0).masked_select(moved)), 0.95);
  EXPECT_LT(share(before.ge(0).masked_select(set.poisoned.logical_not())), 0.01);

  const std::int64_t sample =
      set.poisoned.logical_not().logical_and(set.data->labels().eq(0)).nonzero()[0].item<std::int64_t>();
  TensorList state = defense_->extra_state();
  float was = 0;
  for (auto& [name, tensor] : state) {
    if (name != "evidence") continue;
    tensor = tensor.clone();
    was = tensor[sample].item<float>();
    tensor[sample] = 6;
  }
  defense_->set_extra_state(state, "");
  const at::Tensor risen = defense_->training_suspicion(all) - before;
  EXPECT_NEAR(risen[sample].item<float>(), 6 - was, 1e-4);
  EXPECT_EQ(risen.count_nonzero().item<std::int64_t>(), 1);
  EXPECT_TRUE(defense_->suspicion(images_, set.data->labels()).equal(of_image));
}

TEST_F(RobustTest, ResumedEqualsWhole) {
  const Poisoned set = stripes(600, 6);
  const Json options = {{"epochs", 2}, {"keyhole-epochs", 2}, {"indicator-epochs", 2}};
  // In each phase, and after the SFRN was asked, in the second epoch of the last.
  expect_resumable(set, options, {{0, 2}, {2, 2}, {3, 2}, {4, 2}, {4, 25}});
  for (const auto& [name, tensor] : defense_->extra_state()) {
    if (name != "guilty" && name != "trigger_scale") continue;
    EXPECT_TRUE(tensor.any().item<bool>()) << name;
  }
}

TEST_F(RobustTest, ResumedEqualsWholeWithGlimpses) {
  const Json options = {
      {"epochs", 1}, {"keyhole-epochs", 1}, {"keyhole-images", 64}, {"indicator-epochs", 2}};
  expect_resumable(stripes(600, 6), options, {{1, 2}, {2, 2}});
}

// Keyholes that have seen too little to be sure of anything: what lies among images of another label is then
// contradicted by a pre-trained SFRN alone. Random features tell stripes apart.
TEST_F(RobustTest, AsksAPreTrainedBackboneWhatImagesMean) {
  Poisoned set = stripes(600, 0);
  at::Tensor labels = set.true_labels.clone();
  const at::Tensor mistaken = at::arange(600).remainder(20).eq(0);
  labels.add_(mistaken.to(at::kLong)).remainder_(6);
  set.data = make_memory_dataset(set.data->images(at::arange(600)), labels, set.data->classes());
  const auto contradicted = [&](bool pre_trained) {
    train_on(set, pre_trained, {{"keyhole-epochs", 1}, {"keyhole-images", 64}, {"epochs", 1}});
    for (const auto& [name, tensor] : defense_->extra_state())
      if (name == "contradicted") return tensor;
    throw std::logic_error("no state is called contradicted");
  };
  EXPECT_LT(share(contradicted(false).masked_select(mistaken)), 0.5);
  const at::Tensor found = contradicted(true);
  EXPECT_GT(share(found.masked_select(mistaken)), 0.9);
  EXPECT_LT(share(found.masked_select(mistaken.logical_not())), 0.1);
}

}  // namespace
}  // namespace mcci
