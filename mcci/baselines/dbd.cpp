#include "mcci/baselines/dbd.hpp"

#include <ATen/ATen.h>

#include "mcci/baselines/contrastive.hpp"
#include "mcci/baselines/isolation.hpp"
#include "mcci/baselines/semi_supervised.hpp"
#include "mcci/train/recipes.hpp"

namespace mcci {
namespace {

enum PhaseIndex : std::size_t { self_supervised_phase, head_phase, semi_supervised_phase_index };

class Dbd : public SemiSupervisedDefense {
 public:
  void declare(OptionSet& set) override {
    self_supervision_.declare(set);
    set.add("head-epochs", head_epochs_, "epochs of the last layer on these features", {1, 100000});
    set.add("head-lr", head_lr_, "their learning rate, by adam", {1e-8, 100.0});
    set.add("trusted-share", trusted_share_, "share of the set, of lowest loss, whose labels are trusted",
            {0.001, 0.999});
    mixmatch_.declare(set);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = [] {
      const Json own = {{"contrast-temperature", 0.5}, {"head-lr", 2e-3},        {"trusted-share", 0.5},
                        {"mixmatch-temperature", 0.5}, {"mixmatch-alpha", 0.75}, {"mixmatch-weight", 15.0}};
      Json paper = {{"epochs", 190},        {"optimizer", "adam"},
                    {"lr", 2e-3},           {"momentum", 0.9},
                    {"weight-decay", 0.0},  {"schedule", "constant"},
                    {"warmup", 0.0},        {"batch-size", 64},
                    {"flip", true},         {"self-supervised-epochs", 1000},
                    {"head-epochs", 10},    {"self-supervised-lr", 0.4},
                    {"epoch-images", 65536}};
      paper.update(own);
      Json fast = recipes().at("fast");
      fast.update({{"optimizer", "adam"},
                   {"lr", 2e-3},
                   {"weight-decay", 0.0},
                   {"self-supervised-epochs", 8},
                   {"self-supervised-lr", 0.2},
                   {"head-epochs", 3},
                   {"epoch-images", 30000}});
      fast.update(own);
      return Registry<Json>("preset", {{"paper", "the authors' program", paper},
                                       {"fast", "its three parts within minutes", fast}});
    }();
    return table;
  }

  void build(const Problem& problem) override {
    SemiSupervisedDefense::build(problem);
    projection_ = add("projection", projection_head(feature_size(backbone())).ptr());
  }

  std::vector<Phase> phases(const TrainOptions& options) override {
    strong_ = simclr_views(options.augment.flip);
    Phase head =
        make_constant_phase("head", head_parameters(backbone()), options, head_epochs_, "adam", head_lr_);
    head.optimizer.weight_decay = 0;
    epochs_ = options.epochs;
    return {self_supervision_.phase(with_projection(backbone(), *projection_), options), head,
            semi_supervised_phase("semi-supervised", options.epochs, options)};
  }

  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    if (phase != semi_supervised_phase_index) return;
    if (epoch == 0) {
      // Only the first split is the head's; the half of lowest loss is trusted until the end.
      suspicion_of_samples_ = flag_highest(symmetric_losses(backbone(), data), 1 - trusted_share_);
    }
    trust(unflagged(suspicion_of_samples_), flagged(suspicion_of_samples_),
          static_cast<double>(epoch) / static_cast<double>(epochs_));
  }

  at::Tensor pool(std::size_t phase) override {
    return phase == semi_supervised_phase_index ? labelled_pool() : at::Tensor();
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    if (phase == semi_supervised_phase_index) return semi_supervised_loss(batch);
    if (phase == self_supervised_phase) {
      return self_supervision_.loss([this](const at::Tensor& images) { return projected(images); },
                                    batch.images, strong_);
    }
    const at::Tensor logits = answer_of_head(batch.images);
    return {symmetric_cross_entropy(logits, batch.labels).mean(), logits};
  }

 private:
  at::Tensor projected(const at::Tensor& images) {
    return projection_->forward(features(backbone(), place(images, problem().compute)));
  }

  SelfSupervisionOptions self_supervision_;
  std::int64_t head_epochs_ = 10;
  double head_lr_ = 2e-3;
  double trusted_share_ = 0.5;
  std::int64_t epochs_ = 1;
  ViewOptions strong_;
  std::shared_ptr<torch::nn::SequentialImpl> projection_;
};

}  // namespace

std::unique_ptr<Defense> make_dbd() { return std::make_unique<Dbd>(); }

}  // namespace mcci
