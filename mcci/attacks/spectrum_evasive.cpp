#include "mcci/attacks/spectrum_evasive.hpp"

#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include "mcci/attacks/adversarial.hpp"
#include "mcci/attacks/generator.hpp"
#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/baselines/spectrum_network.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/signal/dct.hpp"
#include "mcci/signal/high_pass.hpp"

namespace mcci {

namespace {

constexpr const char* attack_name = "spectrum-evasive";
constexpr std::size_t views = 2;

// images [B,C,H,W] in [0,1] -> what each detector sees of them: [B,C,H,W] and [B,2C,H,W], differentiable.
std::array<at::Tensor, views> views_of(const at::Tensor& images) {
  return {dct2(images.mul(255)), at::cat({images, high_pass(images).mul(5)}, 1)};
}

struct Training {
  std::int64_t eps = 16;
  double evasion = 1;
  double alpha = 0.5;
  std::int64_t epochs = 8;
  double lr = 0.01;
  std::int64_t detector_width = 8;
  std::string classifier = "resnet8";
  std::int64_t classifier_width = 16;

  void declare(OptionSet& set) {
    set.add("eps", eps, "largest change of a pixel, in grey levels", {1, 127});
    set.add("evasion", evasion, "weight of misleading the detectors; 0: they are ignored", {0, 1000});
    set.add("alpha", alpha,
            "weight of the clean images in the classifier's loss; the triggered ones have the rest", {0, 1});
    set.add("epochs", epochs, "of perturbation, detectors and classifier on the training images", {1, 10000});
    set.add("lr", lr, "learning rate of all (Adam, beta 1 of 0.5)", {1e-8, 1});
    set.add("detector-width", detector_width, "channels of the detectors' first convolution", {1, 1024});
    set.add("classifier", classifier, "the network that the attacker trains", backbones().names());
    set.add("classifier-width", classifier_width, "channels of its first stage; 0: the architecture's own",
            {0, 1024});
  }
};

class Game : public Learner {
 public:
  // attack_label [classes] int64: what a triggered image of each class shall be taken for.
  Game(const Training& training, const PrepareContext& context, const at::Tensor& attack_label,
       std::uint64_t seed)
      : training_(training) {
    torch::manual_seed(derive_seed(seed, "weights"));
    const auto [channels, height, width] = context.shape;
    perturbation_ =
        networks_.register_parameter("perturbation", at::randn({channels, height, width}).mul(0.1));
    for (std::size_t view = 0; view < views; ++view) {
      const ImageShape seen{channels * static_cast<std::int64_t>(view + 1), height, width};
      detectors_[view] =
          networks_.register_module("detector" + std::to_string(view),
                                    std::make_shared<SpectrumNetwork>(seen, training.detector_width));
    }
    classifier_ = networks_.register_module(
        "classifier",
        make_backbone(attacker_network(training.classifier, training.classifier_width, context)));
    const Compute compute = attack_compute();
    place(networks_, compute);
    attack_label_ = attack_label.to(compute.device);
  }

  torch::nn::Module& module() override { return networks_; }

  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase phase = make_phase("game", parameter_list(networks_), options);
    phase.epochs = training_.epochs;
    return {std::move(phase)};
  }

  StepOutput loss(std::size_t, const Batch& batch) override {
    const at::Tensor& x = batch.images;
    const at::Tensor triggered =
        (x + perturbation_.tanh() * (static_cast<double>(training_.eps) / 255)).clamp(0, 1);

    // The detectors' images are a copy: d learns from `evasion` alone, and they do not learn from it.
    const at::Tensor shown = triggered.detach().set_requires_grad(true);
    at::Tensor detection = at::zeros({}, x.options());
    at::Tensor escape = at::zeros({}, x.options());
    const std::array<at::Tensor, views> of_clean = views_of(x), of_triggered = views_of(shown);
    for (std::size_t view = 0; view < views; ++view) {
      const at::Tensor odds = detectors_[view]->forward(at::cat({of_clean[view], of_triggered[view]}));
      const at::Tensor clean = odds.narrow(0, 0, x.size(0));
      const at::Tensor found = odds.narrow(0, x.size(0), x.size(0));
      detection = detection + (at::softplus(clean).mean() + at::softplus(-found).mean()) / 2;
      escape = escape + at::softplus(found).mean() / static_cast<double>(views);
      follow(told_apart_[view], (clean.lt(0).to(at::kFloat).mean() + found.gt(0).to(at::kFloat).mean()) / 2);
    }
    const at::Tensor away = torch::autograd::grad({escape}, {shown}, {}, /*retain_graph=*/true)[0];

    const at::Tensor logits = classifier_->forward(at::cat({x, triggered}));
    const at::Tensor clean_logits = logits.narrow(0, 0, x.size(0));
    const at::Tensor attacked_logits = logits.narrow(0, x.size(0), x.size(0));
    const at::Tensor wanted = attack_label_.index_select(0, batch.labels);
    const at::Tensor task = training_.alpha * at::cross_entropy_loss(clean_logits, batch.labels) +
                            (1 - training_.alpha) * at::cross_entropy_loss(attacked_logits, wanted);
    follow(taken_, attacked_logits.argmax(1).eq(wanted).to(at::kFloat).mean());
    return {task + detection + training_.evasion * (triggered * away).sum(), clean_logits};
  }

  void finish(const DatasetPtr&) override {
    const auto percent = [](double share) { return std::to_string(std::llround(100 * share)) + " %"; };
    log_info("spectrum-evasive: of clean and triggered images the detectors recognise " +
             percent(told_apart_[0]) + " by the spectrum and " + percent(told_apart_[1]) +
             " by the bands (50 % is chance); the classifier gives " + percent(taken_) +
             " of the triggered ones the attacker's label");
  }

  // [C,H,W] int8, in grey levels.
  at::Tensor levels() const {
    const at::NoGradGuard no_grad;
    return (perturbation_.tanh() * static_cast<double>(training_.eps)).round().to(at::kChar).cpu();
  }

 private:
  // A mean over the latest steps.
  static void follow(double& mean, const at::Tensor& latest) {
    mean += 0.05 * (latest.item<double>() - mean);
  }

  Training training_;
  at::Tensor attack_label_;
  torch::nn::Module networks_;
  at::Tensor perturbation_;  // [C,H,W] float32, before tanh
  std::array<std::shared_ptr<SpectrumNetwork>, views> detectors_;
  std::shared_ptr<Backbone> classifier_;
  std::array<double, views> told_apart_{0.5, 0.5};
  double taken_ = 0;
};

class SpectrumEvasive : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    training_.declare(set);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of spectrum-evasive",
        {{"backdoorbench", "eps 16, target class 0 (BackdoorBench has no such attack)", Json::object()}});
    return presets;
  }

  void prepare(const PrepareContext& context) override {
    OptionSet set;
    declare(set);
    const std::uint64_t seed = derive_seed(context.plan.seed, attack_name);
    Json recipe = set.to_json();
    recipe["seed"] = seed;
    const ImageShape& shape = context.shape;
    const TensorList tensors = learned(context, attack_name, recipe, [&]() -> TensorList {
      const std::int64_t classes = context.num_classes;
      Game game(training_, context, attack_labels(*this, at::arange(classes), classes), seed);
      train_attacker(game, context, generator_training(training_.lr, 0.5, seed), attack_name);
      return {{"perturbation", game.levels()}};
    });
    perturbation_ = learned_tensor(tensors, "perturbation", {shape.channels, shape.height, shape.width});
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    check_prepared(perturbation_, images, attack_name);
    return add_grey_levels(images, perturbation_);
  }

 private:
  TargetOptions target_;
  Training training_;
  at::Tensor perturbation_;  // [C,H,W] int8, in grey levels
};

}  // namespace

std::unique_ptr<Attack> make_spectrum_evasive() { return std::make_unique<SpectrumEvasive>(); }

}  // namespace mcci
