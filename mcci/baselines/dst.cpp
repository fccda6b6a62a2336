#include "mcci/baselines/dst.hpp"

#include <cmath>
#include <vector>

#include <torch/nn/functional/normalization.h>
#include <torch/types.h>

#include "mcci/baselines/backbone_defense.hpp"
#include "mcci/baselines/contrastive.hpp"
#include "mcci/baselines/isolation.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/train/recipes.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

namespace F = torch::nn::functional;

enum PhaseIndex : std::size_t { probe_phase, separation_phase, contrastive_phase, head_phase };

class Dst : public BackboneDefense {
 public:
  void declare(OptionSet& set) override {
    set.add("probe-epochs", probe_epochs_,
            "epochs of the network whose features are tested, on images as they are", {1, 100000});
    set.add("separation-epochs", separation_epochs_, "epochs in which its classes are drawn apart",
            {1, 100000});
    set.add("probe-lr", probe_lr_, "their learning rate, by sgd, constant", {1e-8, 100.0});
    set.add("trusted-share", trusted_share_,
            "share of the set, the least sensitive, whose labels are trusted", {0.001, 0.999});
    set.add("poison-share", poison_share_,
            "share of the set, the most sensitive, that is held to be poisoned", {0.001, 0.999});
    set.add("contrast-temperature", temperature_, "of the contrastive training", {0.01, 10.0});
    set.add("head-epochs", head_epochs_, "epochs of the last layer on these features", {1, 100000});
    set.add("head-lr", head_lr_, "their learning rate, by sgd, constant", {1e-8, 100.0});
    set.add("poison-weight", poison_weight_, "of the held-to-be-poisoned samples, whose loss is raised",
            {0.0, 100.0});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = [] {
      const Json own = {{"trusted-share", 0.2},
                        {"poison-share", 0.05},
                        {"contrast-temperature", 0.1},
                        {"poison-weight", 0.001}};
      Json paper = {{"epochs", 200},    {"optimizer", "sgd"},   {"lr", 0.5},
                    {"momentum", 0.9},  {"weight-decay", 1e-4}, {"schedule", "one-cycle"},
                    {"warmup", 0.05},   {"lr-floor", 1e-3},     {"batch-size", 512},
                    {"flip", true},     {"probe-epochs", 2},    {"separation-epochs", 10},
                    {"probe-lr", 0.01}, {"head-epochs", 10},    {"head-lr", 5.0}};
      paper.update(own);
      Json fast = recipes().at("fast");
      fast.update({{"epochs", 8},
                   {"lr", 0.2},
                   {"probe-epochs", 2},
                   {"separation-epochs", 1},
                   {"probe-lr", 0.01},
                   {"head-epochs", 2},
                   {"head-lr", 0.5}});
      fast.update(own);
      return Registry<Json>("preset", {{"paper", "the authors' program", paper},
                                       {"fast", "its four parts within minutes", fast}});
    }();
    return table;
  }

  void build(const Problem& problem) override {
    BackboneDefense::build(problem);
    probe_ = add("probe", make_network());
    projection_ = add("projection", projection_head(feature_size(backbone())).ptr());
  }

  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase probe =
        make_constant_phase("probe", parameter_list(*probe_), options, probe_epochs_, "sgd", probe_lr_);
    probe.augment = AugmentOptions::none();
    Phase separation = probe;
    separation.name = "separation";
    separation.epochs = separation_epochs_;
    separation.classifies = false;
    Phase contrast = make_phase("contrastive", with_projection(backbone(), *projection_), options);
    contrast.augment = AugmentOptions::none();
    contrast.classifies = false;
    strong_ = simclr_views(options.augment.flip);
    Phase head =
        make_constant_phase("head", head_parameters(backbone()), options, head_epochs_, "sgd", head_lr_);
    head.optimizer.weight_decay = 0;
    return {probe, separation, contrast, head};
  }

  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    if (phase != contrastive_phase || epoch > 0) return;
    const at::Tensor sensitivity = sensitivities(data);
    suspicion_of_samples_ = flag_highest(sensitivity, poison_share_);
    trusted_ = flag_highest(-sensitivity, trusted_share_).ge(0).logical_and(suspicion_of_samples_.lt(0));
    log_info("labels trusted: " + std::to_string(trusted_.sum().item<std::int64_t>()) +
             ", held to be poisoned: " + std::to_string(flagged(suspicion_of_samples_).numel()));
  }

  // The head learns from what is trusted and from what is held to be poisoned.
  at::Tensor pool(std::size_t phase) override {
    if (phase != head_phase) return {};
    return trusted_.logical_or(suspicion_of_samples_.ge(0)).nonzero().squeeze(1);
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    switch (phase) {
      case probe_phase:
        return plain_loss(*probe_, batch);
      case separation_phase:
        return {centre_similarity(features(*probe_, batch.images), batch.labels, problem().num_classes), {}};
      case contrastive_phase:
        return contrastive(batch);
      default:
        return of_head(batch);
    }
  }

 protected:
  SampleState sample_state() override {
    SampleState state = BackboneDefense::sample_state();
    state.emplace_back("trusted", &trusted_);
    return state;
  }

 private:
  StepOutput contrastive(const Batch& batch) {
    const at::Tensor trusted = trusted_.index_select(0, batch.indices.cpu()).to(batch.labels.device());
    const at::Tensor groups = torch::where(trusted, batch.labels, torch::full_like(batch.labels, -1));
    return {contrastive_loss(projected(batch.images), projected(batch.images), temperature_, groups), {}};
  }

  StepOutput of_head(const Batch& batch) {
    const at::Tensor logits = answer_of_head(batch.images);
    const at::Tensor losses = cross_entropies(logits, batch.labels);
    const at::Tensor trusted =
        trusted_.index_select(0, batch.indices.cpu()).to(batch.labels.device(), torch::kFloat);
    const auto mean_of = [&](const at::Tensor& chosen) {
      return (chosen * losses).sum() / chosen.sum().clamp_min(1);
    };
    return {mean_of(trusted) - poison_weight_ * mean_of(1 - trusted), logits};
  }

  at::Tensor projected(const at::Tensor& images) {
    return projection_->forward(features(backbone(), place(random_view(images, strong_), problem().compute)));
  }

  // How much a sample's features change when its image is turned and moved: the mean square over them, [N].
  at::Tensor sensitivities(const DatasetPtr& data) {
    // A fixed seed: what the views are does not depend on where the run was stopped.
    torch::manual_seed(derive_seed(problem().seed, "sensitivity"));
    ViewOptions moved;
    moved.rotation = 180;
    moved.shift = std::floor(0.2 * static_cast<double>(problem().shape.height));
    probe_->eval();
    return of_every_sample(data, problem().compute, [&](const at::Tensor& images) {
      const at::Tensor changed = place(random_view(images, moved), problem().compute);
      return (features(*probe_, changed) - features(*probe_, images)).square().mean(1);
    });
  }

  std::int64_t probe_epochs_ = 2;
  std::int64_t separation_epochs_ = 10;
  double probe_lr_ = 0.01;
  double trusted_share_ = 0.2;
  double poison_share_ = 0.05;
  double temperature_ = 0.1;
  std::int64_t head_epochs_ = 10;
  double head_lr_ = 5;
  double poison_weight_ = 0.001;
  ViewOptions strong_;
  std::shared_ptr<Backbone> probe_;
  std::shared_ptr<torch::nn::SequentialImpl> projection_;
  at::Tensor trusted_;  // [N] bool on the CPU
};

}  // namespace

std::unique_ptr<Defense> make_dst() { return std::make_unique<Dst>(); }

at::Tensor centre_similarity(const at::Tensor& features, const at::Tensor& labels, std::int64_t num_classes) {
  std::vector<at::Tensor> centres;
  for (std::int64_t c = 0; c < num_classes; ++c) {
    const at::Tensor members = labels.eq(c).nonzero().squeeze(1);
    if (members.numel() > 0) centres.push_back(features.index_select(0, members).mean(0));
  }
  const at::Tensor unit = F::normalize(torch::stack(centres), F::NormalizeFuncOptions().dim(1));
  const at::Tensor others = 1 - torch::eye(unit.size(0), unit.options());
  return (unit.mm(unit.t()) * others).mean();
}

}  // namespace mcci
