#include "mcci/attacks/lira.hpp"

#include <cmath>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/types.h>

#include "mcci/attacks/generator.hpp"
#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/random.hpp"
#include "mcci/state/module_state.hpp"

namespace mcci {

namespace {

struct Training {
  double epsilon = 0.01;
  double alpha = 0.5;
  std::int64_t epochs = 2;
  double lr = 1e-3;
  AttackerNetwork classifier;

  void declare(OptionSet& set) {
    set.add("eps", epsilon, "largest change of a pixel, as a share of the range of grey levels",
            {1.0 / 255, 1});
    set.add("alpha", alpha, "weight of the clean images in the loss; the triggered ones have the rest",
            {0, 1});
    set.add("epochs", epochs, "of generator and classifier on the training images", {1, 10000});
    set.add("lr", lr, "learning rate of both (Adam)", {1e-8, 1});
    classifier.declare(set);
  }
};

class JointTraining : public Learner {
 public:
  // attack_label [classes] int64: what a triggered image of each class shall be taken for.
  JointTraining(const Training& training, const PrepareContext& context, const at::Tensor& attack_label,
                std::uint64_t seed)
      : training_(training) {
    torch::manual_seed(derive_seed(seed, "weights"));
    const std::int64_t channels = context.shape.channels;
    generator_ = networks_.register_module("generator", std::make_shared<UNet>(channels, channels));
    classifier_ =
        networks_.register_module("classifier", make_backbone(config_of(training.classifier, context)));
    const Compute compute = attack_compute();
    place(networks_, compute);
    attack_label_ = attack_label.to(compute.device);
  }

  torch::nn::Module& module() override { return networks_; }
  const UNet& generator() const { return *generator_; }

  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase phase = make_phase("joint training", parameter_list(networks_), options);
    phase.epochs = training_.epochs;
    return {std::move(phase)};
  }

  StepOutput loss(std::size_t, const Batch& batch) override {
    const at::Tensor& x = batch.images;
    const at::Tensor triggered = (x + training_.epsilon * generator_->forward(x).tanh()).clamp(0, 1);
    const at::Tensor clean_logits = classifier_->forward(x);
    const at::Tensor attack_loss =
        at::cross_entropy_loss(classifier_->forward(triggered), attack_label_.index_select(0, batch.labels));
    const at::Tensor clean_loss = at::cross_entropy_loss(clean_logits, batch.labels);
    return {training_.alpha * clean_loss + (1 - training_.alpha) * attack_loss, clean_logits};
  }

 private:
  Training training_;
  at::Tensor attack_label_;
  torch::nn::Module networks_;
  std::shared_ptr<UNet> generator_;
  std::shared_ptr<Backbone> classifier_;
};

class Lira : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    training_.declare(set);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of lira",
        {{"backdoorbench", "eps 0.01 and alpha 0.5 on a short schedule, class 0", Json::object()},
         {"paper", "the authors' schedule: 50 epochs at 1e-4", {{"epochs", 50}, {"lr", 1e-4}}},
         {"strong", "eps 0.05, for victims that do not learn from a change of 2 grey levels",
          Json::object({{"eps", 0.05}})}});
    return presets;
  }

  void prepare(const PrepareContext& context) override {
    OptionSet set;
    declare(set);
    const std::uint64_t seed = derive_seed(context.plan.seed, "lira");
    Json recipe = set.to_json();
    recipe["seed"] = seed;
    const TensorList weights = learned(context, "lira", recipe, [&] {
      const std::int64_t classes = context.num_classes;
      JointTraining joint(training_, context, attack_labels(*this, at::arange(classes), classes), seed);
      train_attacker(joint, context, generator_training(training_.lr, 0.9, seed), "lira");
      return module_state(joint.generator());
    });
    generator_ = std::make_shared<UNet>(context.shape.channels, context.shape.channels);
    load_module_state(*generator_, weights, "artifacts of lira");
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    check_prepared(generator_, "lira");
    const double largest = std::floor(255 * training_.epsilon + 1e-9);
    return apply_generator(images, [&](const at::Tensor& x) {
      const at::Tensor residual = generator_->forward(x).tanh() * (255 * training_.epsilon);
      return x + residual.round().clamp(-largest, largest) / 255;
    });
  }

 private:
  TargetOptions target_;
  Training training_;
  std::shared_ptr<UNet> generator_;
};

}  // namespace

std::unique_ptr<Attack> make_lira() { return std::make_unique<Lira>(); }

}  // namespace mcci
