#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

#include "mcci/core/interrupt.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/train/optimizer.hpp"
#include "mcci/train/schedule.hpp"
#include "mcci/train/trainer.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

at::Tensor fixture(const TensorFile& file, const std::string& name) {
  for (const auto& [key, tensor] : file.tensors) {
    if (key == name) return tensor;
  }
  ADD_FAILURE() << "no tensor " << name;
  return {};
}

void expect_parity_over_three_steps(const std::string& name, const OptimizerOptions& options) {
  const TensorFile file = load_safetensors(std::string(MCCI_FIXTURES) + "/" + name + ".safetensors");
  TensorList parameters;
  for (const std::string i : {"0", "1"}) {
    parameters.emplace_back(i, fixture(file, "param." + i).clone().requires_grad_());
  }
  const auto optimizer = make_optimizer(options, parameters);
  for (const std::string step : {"0", "1", "2"}) {
    for (auto& [i, parameter] : parameters)
      parameter.mutable_grad() = fixture(file, "grad." + step + "." + i);
    optimizer->step(options.lr);
    for (const auto& [i, parameter] : parameters) {
      EXPECT_TRUE(at::allclose(parameter.detach(), fixture(file, "after." + step + "." + i), 1e-6, 1e-7))
          << name << ", step " << step << ", parameter " << i;
    }
  }
}

TEST(Optimizer, SgdEqualsPyTorch) {
  OptimizerOptions options;
  options.optimizer = "sgd";
  options.lr = 0.05;
  options.momentum = 0.9;
  options.weight_decay = 5e-4;
  expect_parity_over_three_steps("sgd", options);
}

TEST(Optimizer, AdadeltaEqualsPyTorch) {
  OptimizerOptions options;
  options.optimizer = "adadelta";
  options.lr = 0.1;
  options.weight_decay = 1e-4;
  expect_parity_over_three_steps("adadelta", options);
}

// In memory order it takes one pass, otherwise tensor operations.
TEST(Optimizer, AdadeltaIsTheSameHoweverAGradientIsLaidOut) {
  OptimizerOptions options;
  options.optimizer = "adadelta";
  options.weight_decay = 1e-2;
  const at::Tensor start = at::rand({40, 30, 6, 6}).contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor same = start.clone().requires_grad_(), other = start.clone().requires_grad_();
  const auto one_pass = make_optimizer(options, {{"weight", same}});
  const auto by_tensors = make_optimizer(options, {{"weight", other}});
  for (int step = 0; step < 3; ++step) {
    const at::Tensor gradient = at::randn(start.sizes());
    same.mutable_grad() = gradient.contiguous(at::MemoryFormat::ChannelsLast);
    other.mutable_grad() = gradient;
    one_pass->step(0.5);
    by_tensors->step(0.5);
  }
  EXPECT_GT((same - start).abs().max().item<double>(), 1e-3);
  EXPECT_TRUE(at::allclose(same.detach(), other.detach(), 1e-6, 1e-7));
}

TEST(Optimizer, AdamEqualsPyTorch) {
  OptimizerOptions options;
  options.optimizer = "adam";
  options.lr = 0.01;
  options.momentum = 0.5;
  options.weight_decay = 1e-4;
  expect_parity_over_three_steps("adam", options);
}

TEST(Optimizer, AdamwEqualsPyTorch) {
  OptimizerOptions options;
  options.optimizer = "adamw";
  options.lr = 0.01;
  options.momentum = 0.9;
  options.weight_decay = 0.05;
  expect_parity_over_three_steps("adamw", options);
}

TEST(Optimizer, ScalesAndDecayAreOfEachParameter) {
  for (const std::string name : {"sgd", "adadelta", "adam", "adamw"}) {
    OptimizerOptions options;
    options.optimizer = name;
    options.weight_decay = 0.1;
    options.decay_vectors = false;
    at::Tensor matrix = at::full({1, 1}, 2.0).requires_grad_();
    at::Tensor vector = at::full({1}, 2.0).requires_grad_();
    at::Tensor slow = at::full({1, 1}, 2.0).requires_grad_();
    for (at::Tensor* parameter : {&matrix, &vector, &slow})
      parameter->mutable_grad() = at::zeros_like(*parameter);
    make_optimizer(options, {{"matrix", matrix}, {"vector", vector}, {"slow", slow}}, {1, 1, 0.25})
        ->step(0.5);
    const double moved = 2 - matrix.item<double>();
    EXPECT_GT(moved, 1e-4) << name;
    EXPECT_EQ(vector.item<double>(), 2) << name;
    EXPECT_NEAR(2 - slow.item<double>(), 0.25 * moved, 1e-6) << name;
  }
}

TEST(Optimizer, ClipsTheNormOfAllGradientsTogether) {
  at::Tensor a = at::zeros({1}).requires_grad_(), b = at::zeros({2}).requires_grad_(), none = at::zeros({1});
  const auto clip = [&](double largest) {
    a.mutable_grad() = at::full({1}, 3.0);
    b.mutable_grad() = at::tensor({0.0F, -4.0F});
    clip_gradients({{"a", a}, {"b", b}, {"none", none}}, largest);
  };
  clip(1);  // 3, 4 -> 5
  EXPECT_NEAR(a.grad().item<double>(), 0.6, 1e-6);
  EXPECT_NEAR(b.grad()[1].item<double>(), -0.8, 1e-6);
  clip(6);
  EXPECT_EQ(a.grad().item<double>(), 3);
  EXPECT_EQ(b.grad()[1].item<double>(), -4);
  clip_gradients({{"none", none}}, 1);
}

TEST(Optimizer, AdamEqualsItsFormulaByHand) {
  OptimizerOptions options;
  options.optimizer = "adam";
  options.momentum = 0.9;
  options.weight_decay = 0;
  at::Tensor parameter = at::full({1}, 2.0).requires_grad_();
  at::Tensor untouched = at::full({1}, 3.0).requires_grad_();
  const auto optimizer = make_optimizer(options, {{"untouched", untouched}, {"p", parameter}});
  // Corrected moments 0.5 and 0.25: a step of lr. Then m = 0.9 0.05 - 0.1 1 = -0.055, corrected by 0.19;
  // v = 0.999 0.00025 + 0.001 1 = 0.00124975, corrected by 0.001999.
  parameter.mutable_grad() = at::full({1}, 0.5);
  optimizer->step(0.1);
  EXPECT_NEAR(parameter.item<double>(), 1.9, 1e-6);
  parameter.mutable_grad() = at::full({1}, -1.0);
  optimizer->step(0.1);
  EXPECT_NEAR(parameter.item<double>(), 1.9 + 0.1 * (0.055 / 0.19) / std::sqrt(0.00124975 / 0.001999), 1e-6);
  EXPECT_EQ(untouched.item<double>(), 3.0);
}

TEST(Optimizer, AdamGoesOnFromItsState) {
  OptimizerOptions options;
  options.optimizer = "adam";
  const auto optimizer_of = [&](at::Tensor& parameter, double value) {
    parameter = at::full({2}, value).requires_grad_();
    parameter.mutable_grad() = at::full({2}, 0.5);
    return make_optimizer(options, {{"p", parameter}});
  };
  at::Tensor parameter;
  const auto optimizer = optimizer_of(parameter, 2.0);
  optimizer->step(0.1);
  at::Tensor resumed_parameter;
  const auto resumed = optimizer_of(resumed_parameter, parameter[0].item<double>());
  ASSERT_EQ(resumed->state().size(), 3);
  for (std::size_t i = 0; i < 3; ++i) {
    at::Tensor destination = resumed->state()[i].second;
    destination.copy_(optimizer->state()[i].second);
  }
  parameter.mutable_grad() = resumed_parameter.mutable_grad() = at::full({2}, -1.0);
  optimizer->step(0.1);
  resumed->step(0.1);
  EXPECT_TRUE(resumed_parameter.equal(parameter));
}

TEST(Schedule, StepsMultiplyAtEachMilestone) {
  ScheduleOptions options;
  options.schedule = "steps";
  EXPECT_DOUBLE_EQ(learning_rate(options, 0.1, {29, 0, 1}), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(options, 0.1, {30, 0, 1}), 0.1 * 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(options, 0.1, {99, 0, 1}), 0.1 * 0.1 * 0.1 * 0.1);
}

TEST(Schedule, OneCycleRisesLinearlyAndFallsToZero) {
  ScheduleOptions options;
  options.schedule = "one-cycle";
  options.warmup = 0.25;
  const auto at = [&](std::int64_t step) { return learning_rate(options, 1.0, {0, step, 99}); };
  EXPECT_DOUBLE_EQ(at(4), 0.05 / 0.25);  // progress 5/100
  EXPECT_DOUBLE_EQ(at(24), 1.0);         // the peak, at progress 25/100
  EXPECT_NEAR(at(61), 0.5 * (1 + std::cos(M_PI * 0.37 / 0.75)), 1e-12);
  EXPECT_GT(at(0), 0);
  EXPECT_GT(at(98), 0);
  EXPECT_LT(at(98), 1e-3);
}

TEST(Schedule, OneCycleEndsAtItsFloor) {
  ScheduleOptions options;
  options.warmup = 0.1;
  options.lr_floor = 0.2;
  EXPECT_NEAR(learning_rate(options, 1.0, {0, 998, 999}), 0.2, 1e-4);
  EXPECT_DOUBLE_EQ(learning_rate(options, 1.0, {0, 99, 999}), 1.0);
  EXPECT_NEAR(learning_rate(options, 1.0, {0, 549, 999}), 0.6, 1e-12);  // half way down
}

TEST(Schedule, RefusesMilestonesThatAreNoEpochs) {
  ScheduleOptions options;
  options.milestones = {"30", "sixty"};
  EXPECT_THROW(options.milestone_epochs(), Error);
}

// Small random images whose class is the brightest quadrant.
DatasetPtr quadrants(std::int64_t n) {
  torch::manual_seed(5);
  at::Tensor images = at::randint(0, 100, {n, 1, 16, 16}, at::kLong).to(at::kByte);
  const at::Tensor labels = at::arange(n).remainder(4);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t c = i % 4;
    images[i].narrow(1, 8 * (c / 2), 8).narrow(2, 8 * (c % 2), 8).add_(120);
  }
  return make_memory_dataset(images, labels, {"a", "b", "c", "d"});
}

TEST(Phase, WithAConstantRateKeepsTheOptimizerThatThisWasMadeFor) {
  TrainOptions options;
  options.optimizer = {"sgd", 0.3, 0.8, 0.01, true, 2, 3.0, 0.99};
  options.schedule.schedule = "steps";
  const Phase same = make_constant_phase("same", {}, options, 3, "sgd", 0.02);
  EXPECT_EQ(same.epochs, 3);
  EXPECT_EQ(same.optimizer.lr, 0.02);
  EXPECT_EQ(same.optimizer.momentum, 0.8);
  EXPECT_EQ(same.optimizer.weight_decay, 0.01);
  EXPECT_EQ(same.optimizer.clip_norm, 3.0);
  EXPECT_EQ(same.optimizer.average, 0);
  EXPECT_EQ(same.schedule.schedule, "constant");
  const Phase other = make_constant_phase("other", {}, options, 3, "adam", 0.02);
  EXPECT_EQ(other.optimizer.optimizer, "adam");
  EXPECT_EQ(other.optimizer.momentum, 0.9);
  EXPECT_EQ(other.optimizer.weight_decay, 5e-4);
  EXPECT_EQ(other.optimizer.accumulate, 2);
}

// Two phases, dropout and state of its own that changes with every step: what a resumed run must carry over.
class Stateful : public Learner {
 public:
  void build(std::uint64_t seed, std::int64_t classes) {
    torch::manual_seed(seed);
    network_ = Network(classes);
  }
  torch::nn::Module& module() override { return *network_; }
  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase first = make_phase("first", parameter_list(*network_), options);
    Phase second = make_phase("second", parameter_list(*network_), options);
    second.optimizer.optimizer = "adadelta";
    return {first, second};
  }
  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    if (phase == 1 && epoch == 0)
      memory_ = network_->fc->weight.detach().clone().fill_(static_cast<double>(data->size()));
    if (phase == 1 && epoch > 0) memory_ = memory_ * 1.01;
  }
  StepOutput loss(std::size_t phase, const Batch& batch) override {
    if (++steps == stop_after) set_interrupt_requested(true);
    const at::Tensor logits = network_->forward(batch.images);
    at::Tensor loss = torch::nn::functional::cross_entropy(logits, batch.labels);
    if (phase == 1) {
      memory_.mul_(0.9).add_(network_->fc->weight.detach(), 0.1);
      loss = loss + (network_->fc->weight - memory_).square().mean() * 1e-3;
    }
    return {loss, logits};
  }
  TensorList extra_state() override {
    return memory_.defined() ? TensorList{{"memory", memory_}} : TensorList{};
  }
  void set_extra_state(const TensorList& tensors, const std::string&) override {
    if (!tensors.empty()) memory_ = tensors.front().second;
  }

  int steps = 0;
  int stop_after = 0;

 private:
  struct NetworkImpl : torch::nn::Module {
    explicit NetworkImpl(std::int64_t classes)
        : fc(register_module("fc", torch::nn::Linear(256, classes))),
          dropout(register_module("dropout", torch::nn::Dropout(0.5))) {}
    at::Tensor forward(const at::Tensor& x) { return fc(dropout(x.flatten(1))); }
    torch::nn::Linear fc;
    torch::nn::Dropout dropout;
  };
  TORCH_MODULE(Network);
  Network network_{nullptr};
  at::Tensor memory_;
};

// Draws its second phase from a pool with repeats, and classifies nothing there.
class Drawing : public Learner {
 public:
  torch::nn::Module& module() override { return *weight_; }
  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase pool = make_phase("pool", parameter_list(*weight_), options);
    pool.classifies = false;
    return {make_phase("all", parameter_list(*weight_), options), pool};
  }
  at::Tensor pool(std::size_t phase) override {
    return phase == 1 ? at::tensor({4, 4, 4, 9, 11}, at::kLong) : at::Tensor();
  }
  StepOutput loss(std::size_t phase, const Batch& batch) override {
    for (std::int64_t i = 0; i < batch.indices.numel(); ++i) {
      seen[phase].push_back(batch.indices[i].item<std::int64_t>());
    }
    const at::Tensor logits = weight_->forward(batch.images.flatten(1));
    return {logits.square().mean(), phase == 0 ? logits : at::Tensor()};
  }

  std::array<std::vector<std::int64_t>, 2> seen;

 private:
  torch::nn::Linear weight_{256, 4};
};

// Has nothing to learn in its first phase.
class Skipping : public Drawing {
 public:
  at::Tensor pool(std::size_t phase) override {
    return phase == 0 ? at::empty({0}, at::kLong) : Drawing::pool(phase);
  }
};

// Trains its second phase on another set.
class Elsewhere : public Drawing {
 public:
  explicit Elsewhere(DatasetPtr other) : other_(std::move(other)) {}
  DatasetPtr source(std::size_t phase, const DatasetPtr& data) override { return phase == 1 ? other_ : data; }
  at::Tensor pool(std::size_t /*phase*/) override { return {}; }

 private:
  DatasetPtr other_;
};

class TrainerTest : public ::testing::Test {
 protected:
  TrainerTest() {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    run_.data = quadrants(70);
    run_.options.epochs = 2;
    run_.options.loader.batch_size = 16;
    run_.options.seed = 3;
    run_.config_hash = "config";
  }
  ~TrainerTest() override {
    set_interrupt_requested(false);
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  // Stops a run in one of its batches and resumes it.
  void expect_resumable(const std::vector<int>& stops) {
    Stateful whole;
    whole.build(3, 4);
    const RunState expected = train(whole, run_);
    EXPECT_EQ(whole.steps, 20);

    for (const int stop : stops) {
      run_.checkpoint = folder_ / ("stop-" + std::to_string(stop));
      run_.resume = false;
      Stateful stopped;
      stopped.build(3, 4);
      stopped.stop_after = stop;
      EXPECT_THROW(train(stopped, run_), Error) << stop;
      set_interrupt_requested(false);

      run_.resume = true;
      Stateful resumed;
      resumed.build(99, 4);  // the weights must come from the checkpoint
      const RunState state = train(resumed, run_);
      EXPECT_EQ(resumed.steps, 20 - stopped.steps);
      const TensorList a = module_state(whole.module());
      const TensorList b = module_state(resumed.module());
      for (std::size_t i = 0; i < a.size(); ++i)
        EXPECT_TRUE(at::equal(a[i].second, b[i].second)) << stop << a[i].first;
      ASSERT_EQ(state.history.size(), expected.history.size());
      for (std::size_t e = 0; e < expected.history.size(); ++e) {
        for (const std::string key : {"phase", "loss", "train_accuracy", "lr"}) {
          EXPECT_EQ(state.history[e][key], expected.history[e][key])
              << "stopped at " << stop << ", epoch " << e << ", " << key;
        }
      }
    }
  }

  fs::path folder_ = fs::temp_directory_path() / ("mcci-train-" + std::to_string(::getpid()));
  TrainingRun run_;
};

// 70 samples in batches of 16: five batches per epoch, ten per phase, twenty in all. Stopped anywhere, at the
// edges of epochs and phases too, a resumed run ends with the same bits.
TEST_F(TrainerTest, ResumedRunEqualsUninterruptedOne) { expect_resumable({1, 3, 5, 6, 10, 11, 14, 15, 19}); }

TEST_F(TrainerTest, ResumedRunWithAnAverageEqualsUninterruptedOne) {
  run_.options.optimizer.average = 0.9;
  run_.options.optimizer.clip_norm = 0.5;
  expect_resumable({1, 5, 6, 10, 11, 19});
}

// Gradients of the batches 1 and 2, 3 and 4, and 5 are added up: it stops after the second of two.
TEST_F(TrainerTest, ResumedRunThatAccumulatesEqualsUninterruptedOne) {
  run_.options.optimizer.accumulate = 2;
  expect_resumable({1, 2, 3, 5, 6, 10, 11});
}

TEST_F(TrainerTest, DrawsAPhaseFromItsPool) {
  Drawing learner;
  const RunState state = train(learner, run_);
  EXPECT_EQ(learner.seen[0].size(), 2 * 70U);
  std::sort(learner.seen[1].begin(), learner.seen[1].end());
  EXPECT_THAT(learner.seen[1], ::testing::ElementsAre(4, 4, 4, 4, 4, 4, 9, 9, 11, 11));
  EXPECT_TRUE(state.history.front()["train_accuracy"].is_number());
  EXPECT_TRUE(state.history.back()["train_accuracy"].is_null());
}

TEST_F(TrainerTest, LeavesOutAPhaseWithNothingToLearn) {
  Skipping learner;
  const RunState state = train(learner, run_);
  EXPECT_TRUE(state.finished);
  EXPECT_TRUE(learner.seen[0].empty());
  EXPECT_EQ(learner.seen[1].size(), 2 * 5U);
  ASSERT_EQ(state.history.size(), 2U);
  EXPECT_EQ(state.history.front()["phase"], "pool");
}

TEST_F(TrainerTest, TrainsAPhaseOnItsSource) {
  Elsewhere learner(quadrants(21));
  train(learner, run_);
  EXPECT_EQ(learner.seen[0].size(), 2 * 70U);
  EXPECT_EQ(learner.seen[1].size(), 2 * 21U);
  EXPECT_EQ(*std::max_element(learner.seen[1].begin(), learner.seen[1].end()), 20);
}

TEST_F(TrainerTest, FinishedRunIsNotTrainedAgain) {
  run_.checkpoint = folder_ / "done";
  Stateful first;
  first.build(3, 4);
  train(first, run_);
  run_.resume = true;
  Stateful again;
  again.build(3, 4);
  EXPECT_TRUE(train(again, run_).finished);
  EXPECT_EQ(again.steps, 0);
}

TEST_F(TrainerTest, SameSeedSameBitsOtherSeedOthers) {
  const auto weights = [&](std::int64_t seed) {
    run_.options.seed = seed;
    Stateful defense;
    defense.build(3, 4);
    train(defense, run_);
    return module_state(defense.module()).front().second.clone();
  };
  const at::Tensor once = weights(3);
  EXPECT_TRUE(at::equal(once, weights(3)));
  EXPECT_FALSE(at::equal(once, weights(4)));
}

TEST_F(TrainerTest, CheckpointOfAnotherConfigurationIsRefused) {
  run_.checkpoint = folder_ / "other";
  Stateful first;
  first.build(3, 4);
  train(first, run_);
  run_.config_hash = "something else";
  run_.resume = true;
  try {
    train(first, run_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("another configuration"));
  }
}

TEST_F(TrainerTest, DamagedCheckpointIsRefused) {
  run_.checkpoint = folder_ / "damaged";
  Stateful defense;
  defense.build(3, 4);
  train(defense, run_);
  fs::resize_file(run_.checkpoint, fs::file_size(run_.checkpoint) - 7);
  try {
    load_checkpoint(run_.checkpoint, "config");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("damaged"));
  }
}

TEST_F(TrainerTest, ForeignSafetensorsFileIsNoCheckpoint) {
  const fs::path path = folder_ / "weights.safetensors";
  save_safetensors(path, {{"a", at::ones({2})}}, {{"format", "pt"}});
  EXPECT_THROW(load_checkpoint(path, "config"), Error);
}

TEST_F(TrainerTest, DivergedTrainingIsAnErrorNotAResult) {
  struct Diverging : Stateful {
    StepOutput loss(std::size_t phase, const Batch& batch) override {
      StepOutput output = Stateful::loss(phase, batch);
      output.loss = output.loss * NAN;
      return output;
    }
  } defense;
  defense.build(3, 4);
  try {
    train(defense, run_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no longer a number"));
  }
}

TEST_F(TrainerTest, SetOfOneImageIsRefused) {
  run_.data = quadrants(1);
  Stateful defense;
  defense.build(3, 4);
  EXPECT_THROW(train(defense, run_), Error);
}

}  // namespace
}  // namespace mcci
