#include "mcci/baselines/abl.hpp"

#include "mcci/baselines/backbone_defense.hpp"
#include "mcci/baselines/isolation.hpp"
#include "mcci/baselines/views.hpp"
#include "mcci/core/log.hpp"
#include "mcci/train/recipes.hpp"

namespace mcci {
namespace {

enum PhaseIndex : std::size_t { isolation_phase, fine_tuning_phase, unlearning_phase };

class Abl : public BackboneDefense {
 public:
  void declare(OptionSet& set) override {
    isolation_.declare(set);
    set.add("unlearning-epochs", unlearning_epochs_, "epochs of gradient ascent on the isolated samples",
            {0, 100000});
    set.add("unlearning-lr", unlearning_lr_, "their learning rate, by sgd, constant", {1e-8, 100.0});
    set.add("cutout", fine_tuned_.cutout,
            "pixels a side of a square that is blackened in each image of the fine-tuning; 0: none",
            {0, 4096});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = [] {
      const Json paper = {{"epochs", 60},
                          {"optimizer", "sgd"},
                          {"lr", 0.1},
                          {"momentum", 0.9},
                          {"weight-decay", 1e-4},
                          {"schedule", "steps"},
                          {"milestones", {"40"}},
                          {"decay", 0.1},
                          {"batch-size", 128},
                          {"flip", true},
                          {"crop-pad", 4},
                          {"isolation-epochs", 10},
                          {"isolation-lr", 0.1},
                          {"isolation-loss", "flooding"},
                          {"isolation-level", 0.5},
                          {"isolation-share", 0.01},
                          {"unlearning-epochs", 5},
                          {"unlearning-lr", 5e-4},
                          {"cutout", 2}};
      Json fast = recipes().at("fast");
      fast.update({{"isolation-epochs", 1},
                   {"isolation-lr", 0.05},
                   {"isolation-loss", "flooding"},
                   {"isolation-level", 0.5},
                   {"isolation-share", 0.01},
                   {"unlearning-epochs", 2},
                   {"unlearning-lr", 5e-4},
                   {"cutout", 0}});
      return Registry<Json>("preset", {{"paper", "the authors' program", paper},
                                       {"fast", "the short recipe, one epoch before it", fast}});
    }();
    return table;
  }

  std::vector<Phase> phases(const TrainOptions& options) override {
    const TensorList all = parameter_list(backbone());
    Phase unlearning =
        make_constant_phase("unlearning", all, options, unlearning_epochs_, "sgd", unlearning_lr_);
    unlearning.augment = AugmentOptions::none();
    return {isolation_.phase(all, options), make_phase("fine-tuning", all, options), unlearning};
  }

  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    if (phase != fine_tuning_phase || epoch > 0) return;
    suspicion_of_samples_ =
        flag_highest(sample_losses(backbone(), data, problem().compute).neg(), isolation_.isolation_share);
    log_info("isolated: " + std::to_string(flagged(suspicion_of_samples_).numel()) + " of " +
             std::to_string(data->size()) + " images");
  }

  at::Tensor pool(std::size_t phase) override {
    switch (phase) {
      case fine_tuning_phase:
        return unflagged(suspicion_of_samples_);
      case unlearning_phase:
        return flagged(suspicion_of_samples_);
      default:
        return {};
    }
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    StepOutput output = plain_loss(backbone(), phase == fine_tuning_phase ? with_hole(batch) : batch);
    if (phase == isolation_phase) return isolation_.held_up(output);
    if (phase == unlearning_phase) output.loss = -output.loss;
    return output;
  }

 private:
  Batch with_hole(const Batch& batch) const {
    if (fine_tuned_.cutout == 0) return batch;
    return {place(random_view(batch.images, fine_tuned_), problem().compute), batch.labels, batch.indices};
  }

  IsolationOptions isolation_;
  std::int64_t unlearning_epochs_ = 5;
  double unlearning_lr_ = 5e-4;
  ViewOptions fine_tuned_;
};

}  // namespace

std::unique_ptr<Defense> make_abl() { return std::make_unique<Abl>(); }

}  // namespace mcci
