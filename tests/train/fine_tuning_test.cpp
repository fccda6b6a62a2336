#include "mcci/train/fine_tuning.hpp"

#include <cmath>
#include <set>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

#include "mcci/state/module_state.hpp"
#include "mcci/train/trainer.hpp"
#include "mcci/train/weight_average.hpp"
#include "tests/core/support.hpp"

namespace mcci {
namespace {

using testing::ElementsAre;

using testing::UnorderedElementsAre;

std::shared_ptr<Backbone> small_backbone(std::int64_t outputs = 4) {
  BackboneConfig config;
  config.name = "resnet8";  // stem, three blocks, head
  config.width = 2;
  config.in_channels = 1;
  config.image_size = 16;
  config.outputs = outputs;
  return make_backbone(config);
}

TensorList copy_of(const TensorList& tensors) {
  TensorList copy;
  for (const auto& [name, tensor] : tensors) copy.emplace_back(name, tensor.detach().clone());
  return copy;
}

// The first parts of the names of what differs: "layer3", "fc".
std::set<std::string> changed(const TensorList& before, const TensorList& after) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (!at::equal(before[i].second, after[i].second))
      names.insert(before[i].first.substr(0, before[i].first.find('.')));
  }
  return names;
}

// A backbone beside another layer, trained with cross entropy.
class Network : public torch::nn::Module {
 public:
  Network() {
    backbone = small_backbone();
    register_module("sfrn", backbone);
    beside = register_module("beside", torch::nn::Linear(4, 4));
  }
  std::shared_ptr<Backbone> backbone;
  torch::nn::Linear beside{nullptr};
};

class Learning : public Learner {
 public:
  explicit Learning(bool only_backbone = false) : only_backbone_(only_backbone) {
    torch::manual_seed(1);
    network = std::make_shared<Network>();
  }
  torch::nn::Module& module() override { return *network; }
  std::vector<Phase> phases(const TrainOptions& options) override {
    return {make_phase(
        "all",
        parameter_list(only_backbone_ ? static_cast<torch::nn::Module&>(*network->backbone) : *network),
        options)};
  }
  StepOutput loss(std::size_t, const Batch& batch) override {
    const at::Tensor logits = network->beside->forward(network->backbone->forward(batch.images));
    return {torch::nn::functional::cross_entropy(logits, batch.labels), logits};
  }
  std::shared_ptr<Network> network;

 private:
  bool only_backbone_;
};

class FineTuningTest : public testing::Test {
 protected:
  FineTuningTest() {
    torch::manual_seed(2);
    run_.data = make_memory_dataset(at::randint(0, 256, {40, 1, 16, 16}, at::kLong).to(at::kByte),
                                    at::arange(40).remainder(4), {"a", "b", "c", "d"});
    run_.options.epochs = 1;
    run_.options.loader.batch_size = 8;
    run_.options.optimizer.lr = 0.05;
  }

  std::set<std::string> trained_parts(Learning& learner) {
    const TensorList before = copy_of(module_state(*learner.network->backbone));
    train(learner, run_);
    return changed(before, module_state(*learner.network->backbone));
  }

  TrainingRun run_;
};

TEST_F(FineTuningTest, ModesTrainWhatTheySay) {
  FineTuneOptions& options = run_.options.fine_tune;
  Learning full;
  EXPECT_THAT(trained_parts(full), UnorderedElementsAre("conv1", "bn1", "layer1", "layer2", "layer3", "fc"));
  // What is frozen keeps its statistics too: nothing else of it changes.
  options.fine_tune = "last-blocks";
  Learning last;
  EXPECT_THAT(trained_parts(last), UnorderedElementsAre("layer3", "fc"));
  options.trained_blocks = 2;
  Learning last_two;
  EXPECT_THAT(trained_parts(last_two), UnorderedElementsAre("layer2", "layer3", "fc"));
  options.trained_blocks = 100;
  Learning all_of_them;
  EXPECT_EQ(trained_parts(all_of_them).size(), 6U);
  options.fine_tune = "linear-probe";
  Learning probe;
  const at::Tensor beside = probe.network->beside->weight.detach().clone();
  EXPECT_THAT(trained_parts(probe), UnorderedElementsAre("fc"));
  EXPECT_FALSE(at::equal(beside, probe.network->beside->weight));
  // Only for as long as it is trained.
  for (const at::Tensor& parameter : probe.network->parameters()) EXPECT_TRUE(parameter.requires_grad());
}

TEST_F(FineTuningTest, FrozenPartsHaveNoGradientsAndEvaluate) {
  auto network = std::make_shared<Network>();
  FineTuneOptions options;
  options.fine_tune = "linear-probe";
  {
    FineTuning tuning(*network, options);
    tuning.set_training_mode();
    EXPECT_TRUE(network->is_training());
    network->beside->forward(network->backbone->forward(at::rand({2, 1, 16, 16}))).sum().backward();
    for (const auto& parameter : network->backbone->named_parameters()) {
      const bool is_head = parameter.key().rfind("fc.", 0) == 0;
      EXPECT_EQ(parameter.value().grad().defined(), is_head) << parameter.key();
    }
    for (const auto& child : network->backbone->named_children())
      EXPECT_EQ(child.value()->is_training(), child.key() == "fc") << child.key();
  }
  network->train();
  for (const auto& module : network->modules()) EXPECT_TRUE(module->is_training());
}

TEST_F(FineTuningTest, LowerLayersLearnMoreSlowly) {
  auto network = std::make_shared<Network>();
  FineTuneOptions options;
  options.layer_decay = 0.5;
  const FineTuning tuning(*network, options);
  const auto named = network->named_parameters();
  const TensorList parameters = {{"stem", named["sfrn.conv1.weight"]},
                                 {"block", named["sfrn.layer2.0.conv1.weight"]},
                                 {"head", named["sfrn.fc.bias"]},
                                 {"beside", named["beside.weight"]}};
  EXPECT_THAT(tuning.scales(parameters), ElementsAre(0.0625, 0.25, 1, 1));
  options.layer_decay = 1;
  EXPECT_TRUE(FineTuning(*network, options).scales(parameters).empty());
}

TEST_F(FineTuningTest, NothingLeftIsAnError) {
  run_.options.fine_tune.fine_tune = "linear-probe";
  struct OnlyStem : Learning {
    std::vector<Phase> phases(const TrainOptions& options) override {
      return {make_phase("stem", {{"conv1.weight", network->backbone->named_parameters()["conv1.weight"]}},
                         options)};
    }
  } learner;
  test::expect_error(ErrorKind::usage, {"nothing is left", "stem", "--fine-tune"},
                     [&] { train(learner, run_); });
}

// --- weights to start from ---

TEST(LoadBackbones, TakesAllButAHeadOfAnotherSize) {
  torch::manual_seed(3);
  const auto source = small_backbone(7);
  auto network = std::make_shared<Network>();
  const at::Tensor head = network->backbone->named_parameters()["fc.weight"].detach().clone();
  load_backbones(*network, module_state(*source), "file");
  EXPECT_THAT(changed(module_state(*source), module_state(*network->backbone)), UnorderedElementsAre("fc"));
  EXPECT_TRUE(at::equal(network->backbone->named_parameters()["fc.weight"], head));
  // A head that fits is taken; one that is not there is not missed.
  const auto same = small_backbone(4);
  load_backbones(*network, module_state(*same), "file");
  EXPECT_TRUE(changed(module_state(*same), module_state(*network->backbone)).empty());
  TensorList headless;
  for (const auto& named : module_state(*source)) {
    if (named.first.rfind("fc.", 0) != 0) headless.push_back(named);
  }
  load_backbones(*network, headless, "file");
  EXPECT_TRUE(
      at::equal(network->backbone->named_parameters()["fc.weight"], same->named_parameters()["fc.weight"]));
}

TEST(LoadBackbones, OldFilesHaveNoCounters) {
  const auto source = small_backbone();
  TensorList old;
  for (const auto& named : module_state(*source)) {
    if (named.first.find("num_batches_tracked") == std::string::npos) old.push_back(named);
  }
  const auto backbone = small_backbone();
  load_backbones(*backbone, old, "file");
  EXPECT_TRUE(changed(module_state(*source), module_state(*backbone)).empty());
}

TEST(LoadBackbones, RefusesWhatDoesNotFit) {
  const auto backbone = small_backbone();
  const TensorList before = copy_of(module_state(*backbone));
  TensorList weights = copy_of(module_state(*small_backbone(9)));
  weights[0].second = at::zeros({1, 2, 3, 4});
  weights.emplace_back("layer9.weight", at::zeros({1}));
  weights.erase(weights.begin() + 2);
  test::expect_error(ErrorKind::data,
                     {"file", "1 missing", "1 unexpected (\"layer9.weight\")", "conv1.weight"},
                     [&] { load_backbones(*backbone, weights, "file"); });
  EXPECT_TRUE(changed(before, module_state(*backbone)).empty());
  torch::nn::Linear none(2, 2);
  test::expect_error(ErrorKind::usage, {"no backbone"}, [&] { load_backbones(*none, before, "file"); });
}

// --- averages ---

TEST(WeightAverage, EqualsItsFormulaByHand) {
  torch::nn::BatchNorm1d norm(1);
  torch::nn::BatchNorm1d other(1);
  struct Both : torch::nn::Module {
    Both(torch::nn::BatchNorm1d a, torch::nn::BatchNorm1d b) {
      register_module("a", std::move(a));
      register_module("b", std::move(b));
    }
  } both(norm, other);
  WeightAverage average(both, {{"weight", norm->weight}}, 0.5);
  const auto state = [&](std::size_t i) { return average.state()[i].second.item<double>(); };
  // weight, running_mean, running_var, num_batches_tracked, steps; the bias was not asked for.
  ASSERT_EQ(average.state().size(), 5U);
  EXPECT_EQ(average.state()[1].first, "a.running_mean");
  const auto set = [&](double value, std::int64_t batches) {
    const torch::NoGradGuard no_grad;
    norm->weight.fill_(value);
    norm->running_mean.fill_(10 * value);
    norm->num_batches_tracked.fill_(batches);
  };
  set(2, 7);
  average.update();  // keeps 2/11 of 1
  const double first = 1 * 2.0 / 11 + 2 * 9.0 / 11;
  EXPECT_NEAR(state(0), first, 1e-6);
  EXPECT_NEAR(state(1), 20 * 9.0 / 11, 1e-5);
  EXPECT_EQ(state(3), 7);
  set(4, 8);
  average.update();  // keeps 3/12
  EXPECT_NEAR(state(0), first * 3 / 12 + 4 * 9.0 / 12, 1e-6);
  average.swap();
  EXPECT_NEAR(norm->weight.item<double>(), first * 3 / 12 + 4 * 9.0 / 12, 1e-6);
  EXPECT_EQ(state(0), 4);
  average.swap();
  EXPECT_EQ(norm->weight.item<double>(), 4);
  for (int i = 0; i < 100; ++i) average.update();  // never more than the half
  set(0, 9);
  average.update();
  EXPECT_NEAR(state(0), 2, 1e-5);
}

TEST_F(FineTuningTest, TheAverageIsWhatIsEvaluatedAndRemains) {
  run_.options.optimizer.average = 0.9;
  run_.options.epochs = 2;
  Learning learner;
  TensorList seen;
  run_.on_epoch = [&](Json&) { seen = copy_of(module_state(learner.module())); };
  train(learner, run_);
  EXPECT_TRUE(changed(seen, module_state(learner.module())).empty());
  run_.options.optimizer.average = 0;
  run_.on_epoch = {};
  Learning plain;
  train(plain, run_);
  EXPECT_FALSE(changed(seen, module_state(plain.module())).empty());
}

// --- gradients of several batches ---

// Without batch norm and dropout, the step of four small batches is that of a large one; the last step of the
// epoch has fewer images.
TEST_F(FineTuningTest, AccumulatedBatchesEqualALargeOne) {
  struct Flat : Learner {
    Flat() { torch::manual_seed(4), layer = torch::nn::Linear(256, 4); }
    torch::nn::Module& module() override { return *layer; }
    std::vector<Phase> phases(const TrainOptions& options) override {
      return {make_phase("all", parameter_list(*layer), options)};
    }
    StepOutput loss(std::size_t, const Batch& batch) override {
      const at::Tensor logits = layer->forward(batch.images.flatten(1));
      return {torch::nn::functional::cross_entropy(logits, batch.labels), logits};
    }
    torch::nn::Linear layer{nullptr};
  };
  run_.data = make_memory_dataset(at::randint(0, 256, {38, 1, 16, 16}, at::kLong).to(at::kByte),
                                  at::arange(38).remainder(4), {"a", "b", "c", "d"});
  run_.options.epochs = 3;
  run_.options.optimizer.clip_norm = 1;
  run_.options.loader.batch_size = 16;
  Flat large;
  const RunState expected = train(large, run_);
  run_.options.loader.batch_size = 4;
  run_.options.optimizer.accumulate = 4;
  Flat small;
  const RunState state = train(small, run_);
  EXPECT_TRUE(at::allclose(small.layer->weight, large.layer->weight, 1e-5, 1e-6));
  for (std::size_t e = 0; e < 3; ++e) {
    EXPECT_EQ(state.history[e]["lr"], expected.history[e]["lr"]);
    EXPECT_NEAR(state.history[e]["loss"].get<double>(), expected.history[e]["loss"].get<double>(), 1e-5);
  }
}

}  // namespace
}  // namespace mcci
