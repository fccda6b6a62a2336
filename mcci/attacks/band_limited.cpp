#include "mcci/attacks/band_limited.hpp"

#include <limits>

#include <ATen/ATen.h>

#include "mcci/attacks/adversarial.hpp"
#include "mcci/attacks/covers.hpp"
#include "mcci/attacks/learned.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"
#include "mcci/signal/dct.hpp"

namespace mcci {

namespace {

constexpr const char* attack_name = "band-limited";

class BandLimited : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("low", low_, "lowest frequency of the band, as a share of those of the axis", {0, 1});
    set.add("high", high_, "frequency at which the band ends", {0, 1});
    set.add("amplitude", amplitude_, "largest value of the pattern, in grey levels", {1, 127});
    set.add("pattern-seed", pattern_seed_, "seed of the pattern",
            {0, std::numeric_limits<std::int64_t>::max()});
    declare_cover_ratio(set, cover_ratio_);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets("preset of band-limited",
                                        {{"backdoorbench",
                                          "the second quarter of the frequencies, target class 0 "
                                          "(BackdoorBench has no such attack)",
                                          Json::object()}});
    return presets;
  }

  void prepare(const PrepareContext& context) override {
    const auto [channels, height, width] = context.shape;
    const at::Tensor u = at::arange(height, at::kDouble).div(height).unsqueeze(1);
    const at::Tensor v = at::arange(width, at::kDouble).div(width).unsqueeze(0);
    const at::Tensor frequency = at::maximum(u, v);
    const at::Tensor passed = frequency.ge(low_).logical_and(frequency.lt(high_));
    if (!passed.any().item<bool>()) {
      throw Error(ErrorKind::usage,
                  "images of " + std::to_string(height) + "x" + std::to_string(width) +
                      " have no frequency between 'low' and 'high'",
                  attack_name, "give a wider band");
    }
    at::Tensor spectrum = at::empty({channels, height, width});
    Rng rng(derive_seed(static_cast<std::uint64_t>(pattern_seed_), "band-limited pattern"));
    auto* coefficient = spectrum.data_ptr<float>();
    for (std::int64_t i = 0; i < spectrum.numel(); ++i) coefficient[i] = static_cast<float>(rng.normal());
    const at::Tensor pattern = idct2(spectrum * passed);
    pattern_ = (pattern * (static_cast<double>(amplitude_) / pattern.abs().max())).round().to(at::kChar);
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  std::int64_t covers(const PoisonPlan& plan) const override { return covers_in_ratio(plan, cover_ratio_); }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    check_prepared(pattern_, images, attack_name);
    return add_grey_levels(images, pattern_);
  }

 private:
  TargetOptions target_;
  double low_ = 0.25;
  double high_ = 0.5;
  std::int64_t amplitude_ = 32;
  std::int64_t pattern_seed_ = 0;
  double cover_ratio_ = 0;
  at::Tensor pattern_;  // [C,H,W] int8, in grey levels
};

}  // namespace

std::unique_ptr<Attack> make_band_limited() { return std::make_unique<BandLimited>(); }

}  // namespace mcci
