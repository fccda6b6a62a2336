#include "mcci/baselines/plain.hpp"

#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/train/recipes.hpp"

namespace mcci {
namespace {

class Plain : public Defense {
 public:
  void declare(OptionSet& /*set*/) override {}

  const Registry<Json>& presets() const override { return recipes(); }

  void build(const Problem& problem) override {
    config_ = problem.backbone;
    config_.outputs = problem.num_classes;
    compute_ = problem.compute;
    torch::manual_seed(derive_seed(problem.seed, "weights"));
    backbone_ = make_backbone(config_);
    place(*backbone_, compute_);
  }

  torch::nn::Module& module() override { return *backbone_; }

  std::vector<Phase> phases(const TrainOptions& options) override {
    return {make_phase("training", parameter_list(*backbone_), options)};
  }

  StepOutput loss(std::size_t /*phase*/, const Batch& batch) override {
    const at::Tensor output = forward(batch.images);
    return {torch::nn::functional::cross_entropy(output, batch.labels), output};
  }

  at::Tensor logits(const at::Tensor& images, Perception perception) override {
    refuse_indicator(perception);
    const torch::NoGradGuard no_grad;
    backbone_->eval();
    return forward(images);
  }

  at::Tensor embedding(const at::Tensor& images, Perception perception) override {
    refuse_indicator(perception);
    const torch::NoGradGuard no_grad;
    const Autocast autocast(compute_);
    backbone_->eval();
    return backbone_->features(images).to(at::kFloat);
  }

  std::shared_ptr<Backbone> folded() override {
    std::shared_ptr<Backbone> copy = make_backbone(config_);
    load_module_state(*copy, module_state(*backbone_), "folding");
    copy->eval();
    return copy;
  }

 private:
  static void refuse_indicator(Perception perception) {
    if (perception != Perception::clean) {
      throw Error(ErrorKind::usage, "a plain model has no attack indicator to be shown", "--perception",
                  "use clean");
    }
  }

  at::Tensor forward(const at::Tensor& images) {
    const Autocast autocast(compute_);
    return backbone_->forward(images).to(at::kFloat);
  }

  BackboneConfig config_;
  Compute compute_;
  std::shared_ptr<Backbone> backbone_;
};

}  // namespace

std::unique_ptr<Defense> make_plain() { return std::make_unique<Plain>(); }

}  // namespace mcci
