#include "mcci/baselines/vb.hpp"

#include <algorithm>

#include <torch/nn/functional/loss.h>
#include <torch/nn/functional/upsampling.h>
#include <torch/types.h>

#include "mcci/baselines/backbone_defense.hpp"
#include "mcci/baselines/companion.hpp"
#include "mcci/baselines/isolation.hpp"
#include "mcci/baselines/views.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/nn/feature_map.hpp"
#include "mcci/train/recipes.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

namespace F = torch::nn::functional;

enum PhaseIndex : std::size_t { warm_up_phase, victim_phase, beneficiary_phase };

constexpr double attention_threshold = 0.1;
constexpr double tiny = 1e-12;

at::Tensor soft_cross_entropy(const at::Tensor& logits, const at::Tensor& targets) {
  return -(logits.log_softmax(1) * targets).sum(1).mean();
}

class Vb : public BackboneDefense {
 public:
  void declare(OptionSet& set) override {
    set.add(
        "victim-epochs", victim_epochs_,
        "epochs of the victim before the beneficiary's: one on all samples, the others on suspicious ones",
        {2, 100000});
    set.add("victim-lr", victim_lr_, "its learning rate, by adam, constant", {1e-8, 100.0});
    set.add("victim-every", victim_every_,
            "of so many epochs in the first half of the beneficiary's, the victim learns in the last; in the "
            "second half, in all",
            {1, 100000});
    set.add("entropy-threshold", entropy_threshold_,
            "entropy of the victim's answers, drawn out to 0 .. 1, up to which a sample is suspicious",
            {0.0, 1.0});
    set.add("entropy-memory", entropy_memory_, "share that the last entropy has in a new one", {0.0, 1.0});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = [] {
      const Json own = {
          {"victim-epochs", 3}, {"victim-lr", 1e-3}, {"entropy-threshold", 0.2}, {"entropy-memory", 0.25}};
      Json paper = {{"epochs", 200},
                    {"optimizer", "sgd"},
                    {"lr", 0.1},
                    {"momentum", 0.9},
                    {"weight-decay", 5e-4},
                    {"schedule", "steps"},
                    {"milestones", {"50", "100", "150"}},
                    {"decay", 0.1},
                    {"batch-size", 128},
                    {"flip", true},
                    {"crop-pad", 4},
                    {"victim-every", 5}};
      paper.update(own);
      Json fast = recipes().at("fast");
      fast.update({{"victim-every", 2}});
      fast.update(own);
      return Registry<Json>("preset", {{"paper", "the authors' program", paper},
                                       {"fast", "the short recipe after the victim's three epochs", fast}});
    }();
    return table;
  }

  void build(const Problem& problem) override {
    BackboneDefense::build(problem);
    victim_ = add("victim", make_network());
    learning_victim_ =
        std::make_unique<Companion>("victim", parameter_list(*victim_), victim_optimizer(OptimizerOptions()));
  }

  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase warm_up = make_phase("warm-up", parameter_list(*victim_), options);
    warm_up.epochs = 1;
    warm_up.optimizer = victim_optimizer(options.optimizer);
    warm_up.schedule.schedule = "constant";
    warm_up.augment = AugmentOptions::none();
    Phase victim = warm_up;
    victim.name = "victim";
    victim.epochs = victim_epochs_ - 1;
    // The views are made in the loss, of images as they are.
    Phase beneficiary = make_phase("beneficiary", parameter_list(backbone()), options);
    beneficiary.augment = AugmentOptions::none();
    beneficiary.classifies = false;
    views_.flip = options.augment.flip;
    views_.shift = static_cast<double>(options.augment.crop_pad);
    epochs_ = options.epochs;
    return {warm_up, victim, beneficiary};
  }

  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    if (phase == victim_phase) {
      // From a bound that most samples fall below to that of the beneficiary's.
      split(data, std::max(1 - 0.4 * static_cast<double>(epoch + 1), entropy_threshold_));
    } else if (phase == beneficiary_phase) {
      if (epoch == 0 || victim_learns(epoch - 1)) split(data, entropy_threshold_);
      learns_ = at::full({}, victim_learns(epoch), at::kBool);
      unlabelled_weight_ = at::full({}, weight_of(epoch), at::kDouble);
    }
  }

  // An epoch of the beneficiary that has use for suspicious samples passes over both kinds together.
  at::Tensor pool(std::size_t phase) override {
    switch (phase) {
      case victim_phase:
        return flagged(suspicion_of_samples_);
      case beneficiary_phase:
        return learns_.item<bool>() ? at::Tensor() : unflagged(suspicion_of_samples_);
      default:
        return {};
    }
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    return phase == beneficiary_phase ? of_beneficiary(batch) : plain_loss(*victim_, batch);
  }

  TensorList extra_state() override {
    TensorList state = BackboneDefense::extra_state();
    for (auto& named : learning_victim_->state()) state.push_back(std::move(named));
    return state;
  }

  void set_extra_state(const TensorList& tensors, const std::string& where) override {
    BackboneDefense::set_extra_state(tensors, where);
    learning_victim_->restore(tensors);
  }

 protected:
  SampleState sample_state() override {
    SampleState state = BackboneDefense::sample_state();
    state.emplace_back("entropy", &entropy_);
    state.emplace_back("learns", &learns_);
    state.emplace_back("unlabelled weight", &unlabelled_weight_);
    return state;
  }

 private:
  OptimizerOptions victim_optimizer(OptimizerOptions options) const {
    options.optimizer = "adam";
    options.lr = victim_lr_;
    options.momentum = 0.9;
    options.weight_decay = 5e-4;
    options.average = 0;
    return options;
  }

  bool second_half(std::int64_t epoch) const { return 2 * epoch >= epochs_; }

  bool victim_learns(std::int64_t epoch) const {
    return second_half(epoch) || (epoch + 1) % victim_every_ == 0;
  }

  // Of the images without a label: none in the first half, then little, then more.
  double weight_of(std::int64_t epoch) const {
    if (!second_half(epoch)) return 0;
    return 4 * epoch < 3 * epochs_ ? 0.1 : 0.5;
  }

  // Suspicious is what the victim is sure of.
  void split(const DatasetPtr& data, double bound) {
    victim_->eval();
    const at::Tensor log_p = of_every_sample(data, problem().compute, [&](const at::Tensor& images) {
      return forward(*victim_, images).log_softmax(1);
    });
    const at::Tensor now = -(log_p.exp() * log_p).mean(1);
    entropy_ = entropy_.defined() ? (1 - entropy_memory_) * now + entropy_memory_ * entropy_ : now;
    const at::Tensor low = entropy_.min();
    suspicion_of_samples_ = bound - (entropy_ - low) / (entropy_.max() - low).clamp_min(tiny);
    const std::int64_t suspicious = flagged(suspicion_of_samples_).numel();
    log_info("suspicious: " + std::to_string(suspicious) + " of " + std::to_string(data->size()) + " images");
    if (suspicious < 2 || data->size() - suspicious < 2) {
      throw Error(ErrorKind::usage, "the victim finds all samples suspicious, or none", "--entropy-threshold",
                  "choose another, or give it more epochs");
    }
  }

  StepOutput of_beneficiary(const Batch& batch) {
    const at::Tensor is_suspicious =
        suspicion_of_samples_.ge(0).index_select(0, batch.indices.cpu()).to(batch.images.device());
    const at::Tensor credible = is_suspicious.logical_not().nonzero().squeeze(1);
    const at::Tensor suspicious = is_suspicious.nonzero().squeeze(1);
    const double weight = unlabelled_weight_.item<double>();
    at::Tensor loss = of_credible(batch.images.index_select(0, credible),
                                  batch.labels.index_select(0, credible), weight > 0);
    // One image alone has no statistics.
    if (suspicious.numel() > 1 && learns_.item<bool>()) {
      const at::Tensor images = batch.images.index_select(0, suspicious);
      if (weight > 0) loss = loss + weight * of_unlabelled(images);
      victim_->train();
      learning_victim_->step(F::cross_entropy(forward(*victim_, place(images, problem().compute)),
                                              batch.labels.index_select(0, suspicious)));
    }
    return {loss, {}};
  }

  // Two views of each image, mixed with one another.
  at::Tensor of_credible(const at::Tensor& images, const at::Tensor& labels, bool suppresses) {
    if (images.size(0) < 2) return torch::zeros({}, images.options().requires_grad(true));
    at::Tensor targets = torch::one_hot(labels, problem().num_classes).to(torch::kFloat);
    if (suppresses) targets = suppressed(targets, answer_of_victim(images));
    const at::Tensor views = two_views(images);
    at::Tensor attention;
    {
      const torch::NoGradGuard no_grad;
      const Autocast autocast(problem().compute);
      attention =
          attention_of(last_feature_map(backbone(), views).to(at::kFloat), views.size(2), views.size(3));
    }
    const at::Tensor others = torch::randperm(views.size(0), torch::kLong).to(views.device());
    const AttentionMixture mixed =
        attention_mix(views, attention, targets.repeat({2, 1}), others, attention_threshold);
    return soft_cross_entropy(forward(backbone(), place(mixed.images, problem().compute)), mixed.targets);
  }

  // What the beneficiary itself takes them for, without what the victim does.
  at::Tensor of_unlabelled(const at::Tensor& images) {
    const at::Tensor victims = answer_of_victim(images);
    const at::Tensor logits = forward(backbone(), two_views(images));
    const std::int64_t count = images.size(0);
    const at::Tensor p = logits.detach().softmax(1);
    const at::Tensor guessed = (p.narrow(0, 0, count) + p.narrow(0, count, count)).argmax(1);
    const at::Tensor targets =
        suppressed(torch::one_hot(guessed, problem().num_classes).to(torch::kFloat), victims);
    return soft_cross_entropy(logits, targets.repeat({2, 1}));
  }

  at::Tensor answer_of_victim(const at::Tensor& images) {
    const torch::NoGradGuard no_grad;
    victim_->eval();
    return forward(*victim_, place(images, problem().compute));
  }

  at::Tensor two_views(const at::Tensor& images) const {
    return place(torch::cat({random_view(images, views_), random_view(images, views_)}), problem().compute);
  }

  std::int64_t victim_epochs_ = 3;
  double victim_lr_ = 1e-3;
  std::int64_t victim_every_ = 5;
  double entropy_threshold_ = 0.2;
  double entropy_memory_ = 0.25;
  std::int64_t epochs_ = 1;
  ViewOptions views_;
  std::shared_ptr<Backbone> victim_;
  std::unique_ptr<Companion> learning_victim_;
  at::Tensor entropy_;            // [N] float32 on the CPU: of the victim's answers
  at::Tensor learns_;             // bool: whether the victim learns in this epoch
  at::Tensor unlabelled_weight_;  // float64: of the suspicious images in this epoch
};

}  // namespace

std::unique_ptr<Defense> make_vb() { return std::make_unique<Vb>(); }

at::Tensor attention_of(const at::Tensor& feature_map, std::int64_t height, std::int64_t width) {
  const at::Tensor energy = feature_map.square().sum(1, /*keepdim=*/true);
  const at::Tensor enlarged = F::interpolate(energy, F::InterpolateFuncOptions()
                                                         .size(std::vector<std::int64_t>{height, width})
                                                         .mode(torch::kBilinear)
                                                         .align_corners(false));
  const at::Tensor low = enlarged.amin({2, 3}, /*keepdim=*/true);
  return (enlarged - low) / (enlarged.amax({2, 3}, /*keepdim=*/true) - low + tiny);
}

AttentionMixture attention_mix(const at::Tensor& images, const at::Tensor& attention,
                               const at::Tensor& targets, const at::Tensor& others, double threshold) {
  const auto sum = [](const at::Tensor& maps) { return maps.sum({1, 2, 3}, /*keepdim=*/true); };
  const at::Tensor mask = attention.ge(threshold).to(attention.scalar_type());
  const at::Tensor attention_of_others = attention.index_select(0, others);
  // The shares of the image's own attention and of the other's that lie in the mask.
  const at::Tensor own = sum(mask * attention) / (sum(attention) + tiny);
  const at::Tensor other = sum(mask * attention_of_others) / (sum(attention_of_others) + tiny);
  const at::Tensor given = mask * other / (own + other + tiny);
  const at::Tensor lost = (own * other / (own + other + tiny)).flatten(1);
  return {images * (1 - given) + images.index_select(0, others) * given,
          targets * (1 - lost) + targets.index_select(0, others) * lost};
}

at::Tensor suppressed(const at::Tensor& targets, const at::Tensor& victim_logits) {
  constexpr double temperature = 3;
  return (targets - (victim_logits / temperature).softmax(1)).clamp(0, 1);
}

}  // namespace mcci
