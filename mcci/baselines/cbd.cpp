#include "mcci/baselines/cbd.hpp"

#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/baselines/backbone_defense.hpp"
#include "mcci/train/recipes.hpp"

namespace mcci {
namespace {

constexpr std::size_t biased_phase = 0;

at::Tensor losses_of(const at::Tensor& logits, const at::Tensor& labels) {
  namespace F = torch::nn::functional;
  return F::cross_entropy(logits, labels, F::CrossEntropyFuncOptions().reduction(torch::kNone));
}

class Cbd : public BackboneDefense {
 public:
  void declare(OptionSet& set) override {
    set.add("biased-epochs", biased_epochs_, "epochs of the network that is to learn the backdoor",
            {1, 100000});
    set.add("biased-lr", biased_lr_, "their learning rate, constant", {1e-8, 100.0});
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
                          {"biased-lr", 0.1}};
      Json fast = recipes().at("fast");
      fast.update({{"biased-epochs", 1}, {"biased-lr", 0.1}});
      return Registry<Json>("preset",
                            {{"paper", "the authors' program, which has no mutual information term", paper},
                             {"fast", "the short recipe, one epoch before it", fast}});
    }();
    return table;
  }

  void build(const Problem& problem) override {
    BackboneDefense::build(problem);
    biased_ = add("biased", make_network());
  }

  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase biased = make_phase("biased", parameter_list(*biased_), options);
    biased.epochs = biased_epochs_;
    biased.optimizer.lr = biased_lr_;
    biased.schedule.schedule = "constant";
    return {biased, make_phase("training", parameter_list(backbone()), options)};
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    if (phase == biased_phase) return plain_loss(*biased_, batch);
    at::Tensor biased_losses;
    {
      const torch::NoGradGuard no_grad;
      biased_->eval();
      biased_losses = losses_of(forward(*biased_, batch.images), batch.labels);
    }
    const at::Tensor logits = forward(backbone(), batch.images);
    const at::Tensor losses = losses_of(logits, batch.labels);
    return {(cbd_weights(biased_losses, losses.detach()) * losses).mean(), logits};
  }

 private:
  std::int64_t biased_epochs_ = 5;
  double biased_lr_ = 0.1;
  std::shared_ptr<Backbone> biased_;
};

}  // namespace

std::unique_ptr<Defense> make_cbd() { return std::make_unique<Cbd>(); }

at::Tensor cbd_weights(const at::Tensor& biased_losses, const at::Tensor& clean_losses) {
  const at::Tensor weights = biased_losses / (clean_losses + biased_losses + 1e-8);
  return weights / weights.mean().clamp_min(1e-8);
}

}  // namespace mcci
