#include "mcci/attacks/input_aware.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/types.h>

#include "mcci/attacks/covers.hpp"
#include "mcci/attacks/generator.hpp"
#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"
#include "mcci/state/module_state.hpp"

namespace mcci {

namespace {

// x [B,C,H,W] in [0,1], mask [B,1,H,W], pattern [B,C,H,W].
at::Tensor triggered(const at::Tensor& x, const at::Tensor& mask, const at::Tensor& pattern) {
  return x + (pattern - x) * mask;
}

// Root of the mean squared difference of each pair: [B]. The constant keeps the gradient finite at zero.
at::Tensor distances(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).square().mean({1, 2, 3}) + 1e-8).sqrt();
}

// Large where the outputs for two images differ less than the images.
at::Tensor sameness(const at::Tensor& images, const at::Tensor& others, const at::Tensor& outputs,
                    const at::Tensor& other_outputs) {
  return (distances(images, others) / distances(outputs, other_outputs)).mean();
}

struct Training {
  std::int64_t mask_epochs = 1;
  std::int64_t epochs = 3;
  double lr = 0.01;
  double mask_density = 0.032;
  double lambda_norm = 100;
  double lambda_div = 1;
  double share = 0.1;
  AttackerNetwork classifier;

  void declare(OptionSet& set) {
    set.add("mask-epochs", mask_epochs, "of the mask generator on the training images", {1, 10000});
    set.add("epochs", epochs, "of pattern generator and classifier", {1, 10000});
    set.add("lr", lr, "learning rate of all three networks (Adam)", {1e-8, 1});
    set.add("mask-density", mask_density, "mean of a mask over all pixels that costs nothing", {0, 1});
    set.add("lambda-norm", lambda_norm, "weight of the mask's excess over its density", {0, 1e6});
    set.add("lambda-div", lambda_div, "weight of diversity, of masks and of patterns", {0, 1e6});
    set.add("share", share, "of a batch that is triggered in training; as many get cross triggers", {0, 0.5});
    classifier.declare(set);
  }
};

class Generators : public Learner {
 public:
  // attack_label [classes] int64: what a triggered image of each class shall be taken for.
  Generators(const Training& training, const PrepareContext& context, const at::Tensor& attack_label,
             std::uint64_t seed)
      : training_(training) {
    torch::manual_seed(derive_seed(seed, "weights"));
    const std::int64_t channels = context.shape.channels;
    mask_ = networks_.register_module("mask", std::make_shared<UNet>(channels, 1));
    pattern_ = networks_.register_module("pattern", std::make_shared<UNet>(channels, channels));
    classifier_ =
        networks_.register_module("classifier", make_backbone(config_of(training.classifier, context)));
    const Compute compute = attack_compute();
    place(networks_, compute);
    attack_label_ = attack_label.to(compute.device);
  }

  torch::nn::Module& module() override { return networks_; }

  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase mask = make_phase("mask", parameter_list(*mask_), options);
    mask.epochs = training_.mask_epochs;
    mask.classifies = false;
    TensorList both = with_prefix_added(parameter_list(*pattern_), "pattern");
    for (auto& [name, parameter] : parameter_list(*classifier_))
      both.emplace_back("classifier." + name, parameter);
    Phase pattern = make_phase("pattern", std::move(both), options);
    pattern.epochs = training_.epochs;
    return {std::move(mask), std::move(pattern)};
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    return phase == 0 ? mask_loss(batch.images) : pattern_loss(batch.images, batch.labels);
  }

 private:
  at::Tensor mask_of(const at::Tensor& x) { return input_aware_mask(mask_->forward(x)); }
  at::Tensor pattern_of(const at::Tensor& x) { return input_aware_pattern(pattern_->forward(x)); }

  StepOutput mask_loss(const at::Tensor& x) {
    const at::Tensor masks = mask_of(x);
    const at::Tensor excess = (masks - training_.mask_density).relu().mean();
    const at::Tensor same = sameness(x, x.roll(1, 0), masks, masks.roll(1, 0));
    return {training_.lambda_norm * excess + training_.lambda_div * same, {}};
  }

  // The first images of the batch are triggered, the next get the trigger of their right-hand neighbour.
  StepOutput pattern_loss(const at::Tensor& x, const at::Tensor& labels) {
    const std::int64_t size = x.size(0);
    const auto wanted = std::llround(training_.share * static_cast<double>(size));
    const std::int64_t count = std::clamp<std::int64_t>(wanted, 1, size / 2);
    const at::Tensor own = x.narrow(0, 0, count);
    const at::Tensor crossed = x.narrow(0, count, count);
    const at::Tensor others = x.roll(-1, 0).narrow(0, count, count);
    const at::Tensor owners = at::cat({own, others});
    at::Tensor masks;
    {
      const torch::NoGradGuard frozen;
      masks = mask_of(owners);
    }
    const at::Tensor patterns = pattern_of(owners);
    const at::Tensor first = triggered(x.narrow(0, 0, 2 * count), masks, patterns);
    const at::Tensor rest = x.narrow(0, 2 * count, size - 2 * count);
    const at::Tensor targets = at::cat(
        {attack_label_.index_select(0, labels.narrow(0, 0, count)), labels.narrow(0, count, size - count)});
    const at::Tensor logits = classifier_->forward(at::cat({first, rest}));
    const at::Tensor same =
        sameness(own, others, patterns.narrow(0, 0, count), patterns.narrow(0, count, count));
    return {at::cross_entropy_loss(logits, targets) + training_.lambda_div * same, logits};
  }

  Training training_;
  at::Tensor attack_label_;
  torch::nn::Module networks_;
  std::shared_ptr<UNet> mask_;
  std::shared_ptr<UNet> pattern_;
  std::shared_ptr<Backbone> classifier_;
};

class InputAware : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    training_.declare(set);
    set.add("cross-ratio", cross_ratio_, "cross-triggered cover samples for each poisoned one", {0, 100});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of input-aware",
        {{"backdoorbench", "BackdoorBench's parameters on a short schedule, class 0", Json::object()},
         {"paper",
          "the authors' schedule, 25 and 600 epochs, class 0",
          {{"mask-epochs", 25}, {"epochs", 600}}}});
    return presets;
  }

  void prepare(const PrepareContext& context) override {
    seed_ = context.plan.seed;
    train_ = context.train;
    const std::uint64_t seed = derive_seed(seed_, "input-aware");
    OptionSet set;
    target_.declare(set);
    training_.declare(set);
    Json recipe = set.to_json();
    recipe["seed"] = seed;
    const TensorList weights = learned(context, "input-aware", recipe, [&] {
      const std::int64_t classes = context.num_classes;
      Generators generators(training_, context, attack_labels(*this, at::arange(classes), classes), seed);
      train_attacker(generators, context, generator_training(training_.lr, 0.5, seed), "input-aware");
      const TensorList all = module_state(generators.module());
      TensorList kept = with_prefix_added(with_prefix_removed(all, "mask"), "mask");
      for (const auto& [name, tensor] : with_prefix_removed(all, "pattern"))
        kept.emplace_back("pattern." + name, tensor);
      return kept;
    });
    const std::int64_t channels = context.shape.channels;
    mask_ = std::make_shared<UNet>(channels, 1);
    pattern_ = std::make_shared<UNet>(channels, channels);
    load_module_state(*mask_, with_prefix_removed(weights, "mask"), "artifacts of input-aware");
    load_module_state(*pattern_, with_prefix_removed(weights, "pattern"), "artifacts of input-aware");
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  std::int64_t covers(const PoisonPlan& plan) const override { return covers_in_ratio(plan, cross_ratio_); }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    check_prepared(pattern_, "input-aware");
    return apply_generator(images, [&](const at::Tensor& x) { return with_trigger_of(x, x); });
  }

  at::Tensor apply_cover(const at::Tensor& images, const at::Tensor& indices,
                         const at::Tensor&) const override {
    if (train_ == nullptr) {
      throw Error(ErrorKind::internal, "prepare() was not given the training set, from which triggers come",
                  "input-aware");
    }
    const at::Tensor others =
        train_->images(other_samples(indices, train_->size(), seed_, "input-aware cross"));
    const std::int64_t channels = images.size(1);
    return apply_generator(at::cat({images, others}, 1), [&](const at::Tensor& both) {
      return with_trigger_of(both.narrow(1, channels, channels), both.narrow(1, 0, channels));
    });
  }

 private:
  at::Tensor with_trigger_of(const at::Tensor& owners, const at::Tensor& x) const {
    return triggered(x, input_aware_mask(mask_->forward(owners)),
                     input_aware_pattern(pattern_->forward(owners)));
  }

  TargetOptions target_;
  Training training_;
  double cross_ratio_ = 1;
  std::uint64_t seed_ = 0;
  DatasetPtr train_;
  std::shared_ptr<UNet> mask_;
  std::shared_ptr<UNet> pattern_;
};

}  // namespace

at::Tensor input_aware_mask(const at::Tensor& output) { return (output.tanh() * 10).tanh() / 2 + 0.5; }

at::Tensor input_aware_pattern(const at::Tensor& output) { return output.tanh() / 2 + 0.5; }

std::unique_ptr<Attack> make_input_aware() { return std::make_unique<InputAware>(); }

}  // namespace mcci
