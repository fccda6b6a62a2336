#include "mcci/train/low_rank.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/core/interrupt.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/train/trainer.hpp"
#include "tests/core/support.hpp"

namespace mcci {
namespace {

using testing::ElementsAre;

constexpr std::int64_t rank = 2;
constexpr double alpha = 6;

TensorList copy_of(const TensorList& tensors) {
  TensorList copy;
  for (const auto& [name, tensor] : tensors) copy.emplace_back(name, tensor.detach().clone());
  return copy;
}

// W [5,4] and a bias that is not adapted.
class Linear : public testing::Test {
 protected:
  Linear() {
    torch::manual_seed(1);
    weight = torch::randn({5, 4}, torch::requires_grad());
    bias = torch::randn({5}, torch::requires_grad());
    before = weight.detach().clone();
    pairs = std::make_unique<LowRank>(TensorList{{"w", weight}}, rank, alpha, 7);
  }
  const at::Tensor& state(std::size_t i) const { return pairs->state()[i].second; }

  at::Tensor weight, bias, before;
  std::unique_ptr<LowRank> pairs;
};

TEST_F(Linear, StartsAsTheBase) {
  pairs->apply();
  EXPECT_TRUE(at::equal(weight, before));
  const at::Tensor &a = state(1), &b = state(2);
  EXPECT_EQ(a.sizes(), (std::vector<std::int64_t>{rank, 4}));
  EXPECT_EQ(b.sizes(), (std::vector<std::int64_t>{5, rank}));
  EXPECT_LE(a.abs().max().item<double>(), 0.5);
  EXPECT_GT(a.abs().min().item<double>(), 0);
  EXPECT_EQ(b.abs().max().item<double>(), 0);
  EXPECT_TRUE(at::equal(a, LowRank({{"w", weight}}, rank, alpha, 7).state()[1].second));
  EXPECT_FALSE(at::equal(a, LowRank({{"w", weight}}, rank, alpha, 8).state()[1].second));
}

TEST_F(Linear, TheSumAnswersAsThePairBesideTheBase) {
  at::Tensor b = state(2);
  b.copy_(at::randn_like(b));
  pairs->apply();
  const at::Tensor x = at::randn({3, 4});
  const at::Tensor apart = x.mm(before.t()) + alpha / rank * x.mm(state(1).t()).mm(b.t());
  EXPECT_TRUE(at::allclose(x.mm(weight.t()), apart, 1e-5, 1e-6));
  EXPECT_TRUE(at::equal(state(0), before));
}

// The gradients of A and B against those that autograd finds for W0 + s B A.
TEST_F(Linear, GradientsAreThoseOfThePair) {
  at::Tensor b_state = state(2);
  b_state.copy_(at::randn_like(b_state));
  pairs->apply();
  const at::Tensor x = at::randn({3, 4});
  const auto loss = [&](const at::Tensor& w) { return (x.mm(w.t()) + bias).pow(3).sum(); };
  loss(weight).backward();
  pairs->take_gradients();
  EXPECT_FALSE(weight.grad().defined());
  const at::Tensor a = state(1).detach().clone().requires_grad_();
  const at::Tensor b = state(2).detach().clone().requires_grad_();
  loss(before + alpha / rank * b.mm(a)).backward();
  EXPECT_TRUE(at::allclose(state(1).grad(), a.grad(), 1e-4, 1e-4));
  EXPECT_TRUE(at::allclose(state(2).grad(), b.grad(), 1e-4, 1e-4));
}

TEST_F(Linear, TheOptimizerSeesThePairInPlaceOfTheWeight) {
  const TensorList parameters = {{"bias", bias}, {"w", weight}, {"other", bias}};
  const TensorList seen = pairs->optimised(parameters);
  std::vector<std::string> names;
  for (const auto& named : seen) names.push_back(named.first);
  EXPECT_THAT(names, ElementsAre("bias", "w.lora_a", "w.lora_b", "other"));
  EXPECT_TRUE(seen[1].second.is_same(state(1)));
  EXPECT_THAT(pairs->optimised(parameters, {1, 2, 3}), ElementsAre(1, 2, 2, 3));
  EXPECT_TRUE(pairs->optimised(parameters, {}).empty());
}

TEST(LowRank, SuitsMatricesThatAreLargerThanThePair) {
  EXPECT_TRUE(LowRank::suits(at::zeros({5, 4}), 2));         // 18 < 20
  EXPECT_FALSE(LowRank::suits(at::zeros({5, 4}), 3));        // 27
  EXPECT_FALSE(LowRank::suits(at::zeros({100}), 1));         // no matrix
  EXPECT_FALSE(LowRank::suits(at::zeros({8, 1, 3, 3}), 8));  // one filter per channel
  EXPECT_TRUE(LowRank::suits(at::zeros({64, 64, 3, 3}), 8));
}

// Of convolutions the kernel is flattened: [O, I * k * k].
TEST(LowRank, AdaptsConvolutions) {
  torch::manual_seed(2);
  const at::Tensor weight = torch::randn({6, 3, 3, 3}, torch::requires_grad());
  const at::Tensor before = weight.detach().clone();
  LowRank pairs({{"w", weight}}, 1, 1, 3);
  at::Tensor b = pairs.state()[2].second;
  b.fill_(2);
  pairs.apply();
  const at::Tensor a = pairs.state()[1].second;
  EXPECT_TRUE(at::allclose(weight - before, (2 * a).view({1, 3, 3, 3}).expand_as(weight), 1e-4, 1e-6));
}

// --- in the epoch loop ---

class Network : public torch::nn::Module {
 public:
  Network() {
    torch::manual_seed(1);
    BackboneConfig config;
    config.name = "resnet8";
    config.width = 8;
    config.in_channels = 1;
    config.image_size = 16;
    config.outputs = 4;
    backbone = register_module("backbone", make_backbone(config));
  }
  std::shared_ptr<Backbone> backbone;
};

class Learning : public Learner {
 public:
  torch::nn::Module& module() override { return *network; }
  std::vector<Phase> phases(const TrainOptions& options) override {
    return {make_phase("first", parameter_list(*network), options),
            make_phase("second", parameter_list(*network), options)};
  }
  StepOutput loss(std::size_t, const Batch& batch) override {
    if (--steps_until_interrupt == 0) set_interrupt_requested(true);
    const at::Tensor logits = network->backbone->forward(batch.images);
    return {torch::nn::functional::cross_entropy(logits, batch.labels), logits};
  }
  std::shared_ptr<Network> network = std::make_shared<Network>();
  int steps_until_interrupt = 0;
};

class LoraTest : public testing::Test {
 protected:
  LoraTest() {
    torch::manual_seed(2);
    run_.data = make_memory_dataset(at::randint(0, 256, {40, 1, 16, 16}, at::kLong).to(at::kByte),
                                    at::arange(40).remainder(4), {"a", "b", "c", "d"});
    run_.options.epochs = 1;
    run_.options.loader.batch_size = 8;
    run_.options.optimizer.optimizer = "adamw";
    run_.options.optimizer.lr = 0.01;
    run_.options.fine_tune.fine_tune = "lora";
    run_.options.fine_tune.lora_rank = rank;
    run_.options.fine_tune.layer_decay = 0.9;
  }
  TrainingRun run_;
};

TEST_F(LoraTest, OnlyTheProductsAndTheHeadChange) {
  Learning learner;
  run_.options.loader.batch_size = 40;
  const TensorList before = copy_of(module_state(*learner.network->backbone));
  train(learner, run_);
  std::size_t adapted = 0;
  const TensorList after = module_state(*learner.network->backbone);
  for (std::size_t i = 0; i < before.size(); ++i) {
    const auto& [name, was] = before[i];
    const at::Tensor change = after[i].second - was;
    const bool of_block = name.rfind("layer", 0) == 0;
    if (name.rfind("fc.", 0) == 0) {
      EXPECT_GT(change.abs().max().item<double>(), 0) << name;
    } else if (of_block && was.dim() == 4 && was.size(2) == 3) {
      ++adapted;
      // Two phases of a pair each; in an orthogonal basis all further directions are empty.
      const at::Tensor singular = at::linalg_svdvals(change.flatten(1));
      EXPECT_GT(singular[0].item<double>(), 1e-4) << name;
      EXPECT_LT(singular[2 * rank].item<double>(), 1e-3 * singular[0].item<double>()) << name;
    } else if (!of_block || was.dim() < 2) {
      EXPECT_EQ(change.to(at::kDouble).abs().max().item<double>(), 0) << name;  // norms, statistics, the stem
    }
  }
  EXPECT_EQ(adapted, 6U);
}

TEST_F(LoraTest, AStoppedRunEndsWithTheSameBits) {
  run_.options.optimizer.average = 0.9;
  run_.options.optimizer.accumulate = 2;
  run_.options.epochs = 2;
  Learning whole;
  train(whole, run_);
  const test::TemporaryFolder folder;
  run_.checkpoint = folder / "checkpoint.safetensors";
  run_.resume = true;
  for (const int steps : {4, 3, 9}) {  // of 5 batches in each of 4 epochs
    Learning stopped;
    stopped.steps_until_interrupt = steps;
    EXPECT_THROW(train(stopped, run_), Error) << steps;
    set_interrupt_requested(false);
  }
  Learning last;
  train(last, run_);
  const TensorList expected = module_state(whole.module()), found = module_state(last.module());
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(at::equal(found[i].second, expected[i].second)) << expected[i].first;
}

}  // namespace
}  // namespace mcci
