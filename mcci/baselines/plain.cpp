#include "mcci/baselines/plain.hpp"

#include "mcci/baselines/backbone_defense.hpp"
#include "mcci/train/recipes.hpp"

namespace mcci {
namespace {

class Plain : public BackboneDefense {
 public:
  void declare(OptionSet& /*set*/) override {}

  const Registry<Json>& presets() const override { return recipes(); }

  // The network itself: its weights are saved under its own names.
  torch::nn::Module& module() override { return backbone(); }

  std::vector<Phase> phases(const TrainOptions& options) override {
    return {make_phase("training", parameter_list(backbone()), options)};
  }

  StepOutput loss(std::size_t /*phase*/, const Batch& batch) override {
    return plain_loss(backbone(), batch);
  }
};

}  // namespace

std::unique_ptr<Defense> make_plain() { return std::make_unique<Plain>(); }

}  // namespace mcci
