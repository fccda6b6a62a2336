#include "mcci/attacks/lf.hpp"

#include <cmath>

#include <ATen/ATen.h>

#include "mcci/attacks/adversarial.hpp"
#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/signal/dct.hpp"

namespace mcci {

namespace {

class LowFrequency : public Attack {
 public:
  LowFrequency() { universal_.deepfool.steps = 200; }

  void declare(OptionSet& set) override {
    target_.declare_class(set);
    set.add("amplitude", amplitude_, "largest value of the pattern, in grey levels; its smallest is 0",
            {1, 255});
    set.add("cutoff", cutoff_, "share of the frequencies of each axis that the pattern may have", {0, 1});
    set.add("images", images_, "that the pattern is learned from", {1, 1000000});
    universal_.declare(set);
    surrogate_.declare(set);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets("preset of lf",
                                        {{"backdoorbench", "0 .. 51 grey levels, class 0", Json::object()}});
    return presets;
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  void prepare(const PrepareContext& context) override {
    const std::int64_t target = target_.attack_label(0, context.num_classes);
    Json recipe = surrogate_.to_json();
    recipe.update(universal_.to_json());
    recipe["seed"] = context.plan.seed;
    recipe["target-class"] = target;
    recipe["amplitude"] = amplitude_;
    recipe["cutoff"] = cutoff_;
    recipe["images"] = images_;
    const ImageShape& shape = context.shape;
    const TensorList tensors = learned(context, "lf", recipe, [&]() -> TensorList {
      return {{"pattern", learn(context, target)}};
    });
    pattern_ = learned_tensor(tensors, "pattern", {shape.channels, shape.height, shape.width});
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    check_prepared(pattern_, images, "lf");
    return add_grey_levels(images, pattern_);
  }

 private:
  // [C,H,W] uint8.
  at::Tensor learn(const PrepareContext& context, std::int64_t target) const {
    const auto kept = [this](std::int64_t size) {
      return (at::arange(size) < cutoff_ * static_cast<double>(size)).to(at::kFloat);
    };
    const at::Tensor passed = at::outer(kept(context.shape.height), kept(context.shape.width));
    const double amplitude = static_cast<double>(amplitude_) / 255;
    UniversalProblem problem;
    problem.images = images_of_other_classes(*context.train, target, images_, context.plan.seed);
    problem.model = classifier_of(surrogate(surrogate_, context));
    problem.target = target;
    problem.seed = context.plan.seed;
    problem.title = "lf";
    problem.subspace = [&](const at::Tensor& change) { return idct2(dct2(change) * passed); };
    problem.constraint = [&](const at::Tensor& pattern) {
      const at::Tensor risen = pattern - pattern.min();
      return risen * (amplitude / risen.max().clamp_min(1e-12));
    };
    const at::Tensor pattern = universal_perturbation(problem, universal_).squeeze(0);
    return (pattern * 255).round().clamp(0, static_cast<double>(amplitude_)).to(at::kByte);
  }

  TargetOptions target_;
  std::int64_t amplitude_ = 51;
  double cutoff_ = 0.125;
  std::int64_t images_ = 100;
  UniversalOptions universal_;
  SurrogateOptions surrogate_;
  at::Tensor pattern_;  // [C,H,W] uint8
};

}  // namespace

std::unique_ptr<Attack> make_lf() { return std::make_unique<LowFrequency>(); }

}  // namespace mcci
