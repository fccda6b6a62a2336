#include "mcci/baselines/cbd.hpp"

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

#include "mcci/baselines/backbone_defense.hpp"
#include "mcci/baselines/companion.hpp"
#include "mcci/train/recipes.hpp"

namespace mcci {
namespace {

constexpr std::size_t biased_phase = 0;

torch::nn::Sequential make_critic(std::int64_t features) {
  constexpr double dropout = 0.2;
  return torch::nn::Sequential(torch::nn::Dropout(dropout), torch::nn::Linear(2 * features, features),
                               torch::nn::LeakyReLU(), torch::nn::Dropout(dropout),
                               torch::nn::Linear(features, 1));
}

class Cbd : public BackboneDefense {
 public:
  void declare(OptionSet& set) override {
    set.add("biased-epochs", biased_epochs_, "epochs of the network that is to learn the backdoor",
            {1, 100000});
    set.add("biased-lr", biased_lr_, "their learning rate, by sgd, constant", {1e-8, 100.0});
    set.add("disentangle", disentangle_,
            "also make the features independent of the biased network's, as a critic sees it");
    set.add("disentangle-weight", weight_, "of that term", {0.0, 1000.0});
    set.add("critic-lr", critic_lr_, "learning rate of the critic, by adam", {1e-8, 100.0});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = [] {
      const Json paper = {{"epochs", 100},
                          {"optimizer", "sgd"},
                          {"lr", 0.1},
                          {"momentum", 0.9},
                          {"weight-decay", 1e-4},
                          {"schedule", "steps"},
                          {"milestones", {"20", "70"}},
                          {"decay", 0.1},
                          {"batch-size", 64},
                          {"flip", true},
                          {"crop-pad", 4},
                          {"biased-epochs", 5},
                          {"biased-lr", 0.1},
                          {"disentangle", false}};
      Json fast = recipes().at("fast");
      fast.update({{"biased-epochs", 2}, {"biased-lr", 0.02}, {"disentangle", false}});
      return Registry<Json>(
          "preset", {{"paper", "the authors' program, with its term of mutual information off", paper},
                     {"fast", "the short recipe, two epochs before it", fast}});
    }();
    return table;
  }

  void build(const Problem& problem) override {
    BackboneDefense::build(problem);
    biased_ = add("biased", make_network());
    if (!disentangle_) return;
    critic_ = add("critic", make_critic(feature_size(backbone())).ptr());
    OptimizerOptions adam;
    adam.optimizer = "adam";
    adam.lr = critic_lr_;
    adam.weight_decay = 0;
    learning_critic_ = std::make_unique<Companion>("critic", parameter_list(*critic_), adam);
  }

  std::vector<Phase> phases(const TrainOptions& options) override {
    return {
        make_constant_phase("biased", parameter_list(*biased_), options, biased_epochs_, "sgd", biased_lr_),
        make_phase("training", parameter_list(backbone()), options)};
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    if (phase == biased_phase) return plain_loss(*biased_, batch);
    at::Tensor biased_seen;
    at::Tensor biased_losses;
    {
      const torch::NoGradGuard no_grad;
      biased_->eval();
      biased_seen = features(*biased_, batch.images);
      biased_losses = cross_entropies(answer(*biased_, biased_seen), batch.labels);
    }
    const at::Tensor seen = features(backbone(), batch.images);
    const at::Tensor logits = answer(backbone(), seen);
    const at::Tensor losses = cross_entropies(logits, batch.labels);
    at::Tensor loss = (cbd_weights(biased_losses, losses.detach()) * losses).mean();
    if (disentangle_) loss = loss + weight_ * judged_dependence(biased_seen, seen);
    return {loss, logits};
  }

  TensorList extra_state() override {
    TensorList state = BackboneDefense::extra_state();
    if (!disentangle_) return state;
    for (auto& named : learning_critic_->state()) state.push_back(std::move(named));
    return state;
  }

  void set_extra_state(const TensorList& tensors, const std::string& where) override {
    BackboneDefense::set_extra_state(tensors, where);
    if (disentangle_) learning_critic_->restore(tensors);
  }

 private:
  // The critic learns to see the dependence; what it then sees.
  at::Tensor judged_dependence(const at::Tensor& biased, const at::Tensor& seen) {
    const auto critic = [this](const at::Tensor& pairs) { return critic_->forward(pairs); };
    learning_critic_->step(-weight_ * cbd_dependence(critic, biased, seen.detach()));
    normalise_spectra(parameter_list(*critic_));
    return cbd_dependence(critic, biased, seen);
  }

  std::int64_t biased_epochs_ = 5;
  double biased_lr_ = 0.1;
  bool disentangle_ = false;
  double weight_ = 0.01;
  double critic_lr_ = 0.2;
  std::shared_ptr<Backbone> biased_;
  std::shared_ptr<torch::nn::SequentialImpl> critic_;  // null: no such term
  std::unique_ptr<Companion> learning_critic_;
};

}  // namespace

std::unique_ptr<Defense> make_cbd() { return std::make_unique<Cbd>(); }

at::Tensor cbd_weights(const at::Tensor& biased_losses, const at::Tensor& clean_losses) {
  const at::Tensor weights = biased_losses / (clean_losses + biased_losses + 1e-8);
  return weights / weights.mean().clamp_min(1e-8);
}

at::Tensor cbd_dependence(const std::function<at::Tensor(const at::Tensor& pairs)>& critic,
                          const at::Tensor& biased, const at::Tensor& clean) {
  const at::Tensor together = critic(torch::cat({biased, clean}, 1));
  const at::Tensor apart = critic(torch::cat({biased, clean.roll(-1, 0)}, 1));
  return together.mean() - apart.mean();
}

void normalise_spectra(const TensorList& parameters) {
  constexpr int iterations = 5;
  constexpr double least = 1e-12;
  const torch::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters) {
    const at::Tensor matrix = parameter.dim() == 1 ? parameter.unsqueeze(1) : parameter;
    at::Tensor right = torch::ones({matrix.size(1)}, matrix.options());
    at::Tensor norm;
    for (int i = 0; i < iterations; ++i) {
      at::Tensor left = matrix.mv(right);
      left = left / left.norm().clamp_min(least);
      right = matrix.t().mv(left);
      norm = right.norm();
      right = right / norm.clamp_min(least);
    }
    at::Tensor(parameter).div_(norm.clamp_min(least));
  }
}

}  // namespace mcci
