#include "mcci/attacks/blended.hpp"

#include "mcci/attacks/covers.hpp"
#include "mcci/attacks/pattern.hpp"
#include "mcci/attacks/target.hpp"

namespace mcci {

namespace {

class Blended : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("alpha", alpha_, "share of the pattern in a triggered image", {0, 1});
    pattern_options_.declare(set);
    declare_cover_ratio(set, cover_ratio_);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of blended", {{"backdoorbench", "alpha 0.2, target class 0", Json::object()},
                              {"paper", "the authors' program", Json::object({{"target-class", 1}})}});
    return presets;
  }

  void prepare(const PrepareContext& context) override { pattern_ = make_pattern(pattern_options_, context); }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  std::int64_t covers(const PoisonPlan& plan) const override { return covers_in_ratio(plan, cover_ratio_); }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    return blend(images, pattern_, alpha_, "blended");
  }

 private:
  TargetOptions target_;
  double alpha_ = 0.2;
  PatternOptions pattern_options_;
  double cover_ratio_ = 0;
  at::Tensor pattern_;  // [C,H,W] uint8
};

}  // namespace

std::unique_ptr<Attack> make_blended() { return std::make_unique<Blended>(); }

}  // namespace mcci
