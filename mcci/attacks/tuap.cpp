#include "mcci/attacks/tuap.hpp"

#include <cmath>

#include <ATen/ATen.h>

#include "mcci/attacks/adversarial.hpp"
#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"

namespace mcci {

namespace {

class Tuap : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare_class(set);
    set.add("eps", eps_, "largest change of a pixel, in grey levels", {1, 127});
    set.add("share", share_, "of the set, from which the perturbation is learned", {0, 1});
    universal_.declare(set);
    surrogate_.declare(set);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of tuap", {{"backdoorbench", "eps 8, target class 0", Json::object()},
                           {"backdoorbox", "eps 8, target class 2", Json::object({{"target-class", 2}})}});
    return presets;
  }

  bool clean_label() const override { return true; }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  void prepare(const PrepareContext& context) override {
    const std::int64_t target = target_.attack_label(0, context.num_classes);
    Json recipe = surrogate_.to_json();
    recipe.update(universal_.to_json());
    recipe["seed"] = context.plan.seed;
    recipe["target-class"] = target;
    recipe["eps"] = eps_;
    recipe["share"] = share_;
    const TensorList tensors = learned(context, "tuap", recipe, [&]() -> TensorList {
      return {{"perturbation", learn(context, target)}};
    });
    const ImageShape& shape = context.shape;
    perturbation_ = learned_tensor(tensors, "perturbation", {shape.channels, shape.height, shape.width});
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    check_prepared(perturbation_, images, "tuap");
    return add_grey_levels(images, perturbation_);
  }

 private:
  // [C,H,W] int8, in grey levels.
  at::Tensor learn(const PrepareContext& context, std::int64_t target) const {
    const double eps = static_cast<double>(eps_) / 255;
    const std::int64_t count =
        1 + std::llround(std::floor(share_ * static_cast<double>(context.train->size())));
    UniversalProblem problem;
    problem.images = images_of_other_classes(*context.train, target, count, context.plan.seed);
    problem.model = classifier_of(surrogate(surrogate_, context));
    problem.target = target;
    problem.seed = context.plan.seed;
    problem.title = "tuap";
    problem.constraint = [eps](const at::Tensor& sum) { return sum.clamp(-eps, eps); };
    return (universal_perturbation(problem, universal_).squeeze(0) * 255).round().to(at::kChar);
  }

  TargetOptions target_;
  std::int64_t eps_ = 8;
  double share_ = 0.01;
  UniversalOptions universal_;
  SurrogateOptions surrogate_;
  at::Tensor perturbation_;  // [C,H,W] int8, in grey levels
};

}  // namespace

std::unique_ptr<Attack> make_tuap() { return std::make_unique<Tuap>(); }

}  // namespace mcci
