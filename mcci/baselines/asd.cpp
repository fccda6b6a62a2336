#include "mcci/baselines/asd.hpp"

#include <algorithm>

#include <ATen/ATen.h>

#include "mcci/baselines/isolation.hpp"
#include "mcci/baselines/semi_supervised.hpp"
#include "mcci/data/compose.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/train/recipes.hpp"

namespace mcci {
namespace {

// The parameters of a network's last `count` children: its last stages and its head.
TensorList last_children(const torch::nn::Module& network, std::size_t count) {
  const auto children = network.named_children();
  std::vector<std::string> names;
  for (const auto& child : children) names.push_back(child.key() + ".");
  names.erase(names.begin(), names.end() - static_cast<std::ptrdiff_t>(std::min(count, names.size())));
  TensorList list;
  for (const auto& [name, tensor] : parameter_list(network)) {
    const bool is_last = std::any_of(names.begin(), names.end(), [&, &own = name](const std::string& prefix) {
      return own.rfind(prefix, 0) == 0;
    });
    if (is_last) list.emplace_back(name, tensor);
  }
  return list;
}

class Asd : public SemiSupervisedDefense {
 public:
  void declare(OptionSet& set) override {
    clean_.declare(set);
    set.add("grow-every", grow_every_, "epochs after which more samples of each class are trusted",
            {1, 100000});
    set.add("grow-by", grow_by_, "how many more of each class", {1, 1000000000});
    set.add("trusted-share", trusted_share_, "share of the set that is trusted in the second and third part",
            {0.001, 0.999});
    set.add("meta-lr", meta_lr_,
            "learning rate of the copy that tells hard clean samples from poison, by adam", {1e-8, 100.0});
    mixmatch_.declare(set);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = [] {
      const Json own = {{"trusted-share", 0.5},
                        {"meta-lr", 0.015},
                        {"mixmatch-temperature", 0.5},
                        {"mixmatch-alpha", 0.75},
                        {"mixmatch-weight", 15.0}};
      Json paper = {{"epochs", 120},         {"optimizer", "adam"},    {"lr", 2e-3},       {"momentum", 0.9},
                    {"weight-decay", 0.0},   {"schedule", "constant"}, {"batch-size", 64}, {"flip", true},
                    {"epoch-images", 65536}, {"grow-every", 5},        {"grow-by", 10}};
      paper.update(own);
      Json fast = recipes().at("fast");
      fast.update({{"epochs", 8},
                   {"optimizer", "adam"},
                   {"lr", 2e-3},
                   {"weight-decay", 0.0},
                   {"schedule", "constant"},
                   {"epoch-images", 16000},
                   {"grow-every", 1},
                   {"grow-by", 10}});
      fast.update(own);
      return Registry<Json>("preset", {{"paper", "the authors' program", paper},
                                       {"fast", "its three parts within minutes", fast}});
    }();
    return table;
  }

  std::string assumes() const override { return "clean images with labels"; }
  const CleanDataOptions* clean_data() const override { return &clean_; }

  void build(const Problem& problem) override {
    SemiSupervisedDefense::build(problem);
    copy_ = add("copy", make_network());
  }

  // Half of the epochs grow the trusted samples, a quarter trusts low losses. In the last quarter each epoch
  // comes after one of the copy.
  std::vector<Phase> phases(const TrainOptions& options) override {
    const std::int64_t growing = (options.epochs + 1) / 2;
    const std::int64_t low_loss = (options.epochs - growing + 1) / 2;
    std::vector<Phase> all = {semi_supervised_phase("growing", growing, options),
                              semi_supervised_phase("low losses", low_loss, options)};
    Phase meta =
        make_constant_phase("copy", last_children(*copy_, trained_children), options, 1, "adam", meta_lr_);
    meta.optimizer.weight_decay = 0;
    for (std::int64_t epoch = growing + low_loss; epoch < options.epochs; ++epoch) {
      all.push_back(meta);
      all.push_back(semi_supervised_phase("low reductions", 1, options));
    }
    growing_epochs_ = growing;
    low_loss_epochs_ = low_loss;
    epochs_ = options.epochs;
    return all;
  }

  DatasetPtr source(std::size_t phase, const DatasetPtr& data) override {
    return is_copy(phase) ? data : SemiSupervisedDefense::source(phase, concatenate(data, clean_images()));
  }

  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    const at::NoGradGuard no_grad;
    if (is_copy(phase)) {
      load_module_state(*copy_, module_state(backbone()), "the copy");
      before_ = symmetric_losses(backbone(), data);
      return;
    }
    if (phase > 1) {
      // What the copy has learned quickly is suspicious.
      trust_least_suspicious(before_ - symmetric_losses(*copy_, data), phase, epoch);
    } else if (phase == 1) {
      trust_least_suspicious(symmetric_losses(backbone(), data), phase, epoch);
    } else {
      grow(symmetric_losses(backbone(), data), data->labels(), epoch);
    }
  }

  at::Tensor pool(std::size_t phase) override { return is_copy(phase) ? at::Tensor() : labelled_pool(); }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    return is_copy(phase) ? plain_loss(*copy_, batch) : semi_supervised_loss(batch);
  }

 protected:
  SampleState sample_state() override {
    SampleState state = SemiSupervisedDefense::sample_state();
    state.emplace_back("before", &before_);
    return state;
  }

 private:
  static constexpr std::size_t trained_children = 3;

  // Of the phases from the third on every other one trains the copy.
  static bool is_copy(std::size_t phase) { return phase >= 2 && phase % 2 == 0; }

  // The share of epochs done, by which the unlabelled part of the loss is ramped up.
  double ramp(std::size_t phase, std::int64_t epoch) const {
    std::int64_t done = epoch;
    if (phase >= 1) done += growing_epochs_;
    if (phase >= 2) done += low_loss_epochs_ + static_cast<std::int64_t>(phase - 3) / 2;
    return static_cast<double>(done) / static_cast<double>(epochs_);
  }

  // The seeds, which stand behind the training set, and the given samples of it are trusted; the others are
  // not.
  void trust_with_seeds(const at::Tensor& trusted, double ramp) {
    const at::Tensor seeds = at::arange(clean_images()->size(), at::kLong) + trusted.numel();
    trust(at::cat({trusted.nonzero().squeeze(1), seeds}), trusted.logical_not().nonzero().squeeze(1), ramp);
  }

  void trust_least_suspicious(const at::Tensor& scores, std::size_t phase, std::int64_t epoch) {
    suspicion_of_samples_ = flag_highest(scores, 1 - trusted_share_);
    trust_with_seeds(suspicion_of_samples_.lt(0), ramp(phase, epoch));
  }

  // The seeds, and after every few epochs so many more of each class, by low loss.
  void grow(const at::Tensor& scores, const at::Tensor& labels, std::int64_t epoch) {
    const std::int64_t wanted = epoch / grow_every_ * grow_by_;
    at::Tensor trusted = at::zeros({scores.numel()}, at::kBool);
    for (std::int64_t c = 0; c < problem().num_classes && wanted > 0; ++c) {
      const at::Tensor members = labels.eq(c).nonzero().squeeze(1);
      const at::Tensor order = std::get<1>(scores.index_select(0, members).sort(/*stable=*/true, 0, false));
      trusted.index_fill_(0, members.index_select(0, order.narrow(0, 0, std::min(wanted, members.numel()))),
                          true);
    }
    trust_with_seeds(trusted, ramp(0, epoch));
  }

  CleanDataOptions clean_;
  std::int64_t grow_every_ = 5;
  std::int64_t grow_by_ = 10;
  double trusted_share_ = 0.5;
  double meta_lr_ = 0.015;
  std::int64_t growing_epochs_ = 0;
  std::int64_t low_loss_epochs_ = 0;
  std::int64_t epochs_ = 1;
  std::shared_ptr<Backbone> copy_;
  at::Tensor before_;  // [N] float32: losses before the copy is trained
};

}  // namespace

std::unique_ptr<Defense> make_asd() { return std::make_unique<Asd>(); }

}  // namespace mcci
