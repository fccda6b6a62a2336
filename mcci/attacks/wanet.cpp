#include "mcci/attacks/wanet.hpp"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>

#include "mcci/attacks/covers.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/random.hpp"

namespace mcci {

namespace {

void fill_uniform(float* begin, std::int64_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::generate_n(begin, count, [&] { return static_cast<float>(rng.uniform(-1, 1)); });
}

// grid [B or 1,H,W,2]: where each pixel is read, x before y, -1 .. 1 from centre to centre of the outermost.
at::Tensor warped(const at::Tensor& images, const at::Tensor& grid) {
  constexpr std::int64_t bilinear = 0;
  constexpr std::int64_t zeros = 0;
  const at::Tensor grids = grid.expand({images.size(0), -1, -1, -1});
  return at::grid_sampler_2d(images.to(at::kFloat), grids, bilinear, zeros, /*align_corners=*/true)
      .round()
      .clamp(0, 255)
      .to(at::kByte);
}

class WaNet : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("control-points", control_points_, "k: side of the square of control points; 0: floor(W / 8)",
            {0, 512});
    set.add("strength", strength_, "s: the displacement is s / 2 pixels on average", {0, 100});
    set.add("rescale", rescale_,
            "factor on the displacement; 0: 50 where the image is 224 wide, else 1 (the authors' program)",
            {0, 1000});
    set.add("cross-ratio", cross_ratio_, "noise samples for each poisoned one; 0: noise mode off", {0, 100});
    set.add("pattern-seed", pattern_seed_, "seed of the warping field",
            {0, std::numeric_limits<std::int64_t>::max()});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of wanet",
        {{"backdoorbench", "k 4, s 0.5, two noise samples for each poisoned one, class 0", Json::object()},
         {"paper", "the authors' program: k floor(W / 8), no noise samples",
          Json::object({{"control-points", 0}, {"rescale", 0}, {"cross-ratio", 0}})}});
    return presets;
  }

  void prepare(const PrepareContext& context) override { seed_ = context.plan.seed; }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  std::int64_t covers(const PoisonPlan& plan) const override { return covers_in_ratio(plan, cross_ratio_); }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    return warped(images, grid(images.size(2), images.size(3)));
  }

  at::Tensor apply_cover(const at::Tensor& images, const at::Tensor& indices,
                         const at::Tensor&) const override {
    const std::int64_t height = images.size(2);
    const std::int64_t width = images.size(3);
    at::Tensor noise = at::empty({images.size(0), height, width, 2});
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      const auto index = static_cast<std::uint64_t>(indices[i].item<std::int64_t>());
      fill_uniform(noise[i].data_ptr<float>(), height * width * 2,
                   derive_seed(seed_, "wanet noise", {index}));
    }
    noise /= at::tensor({static_cast<float>(width), static_cast<float>(height)});
    return warped(images, (grid(height, width) + noise).clamp(-1, 1));
  }

 private:
  // [1,H,W,2]
  at::Tensor grid(std::int64_t height, std::int64_t width) const {
    const std::int64_t k = control_points_ > 0 ? control_points_ : std::max<std::int64_t>(1, width / 8);
    const double rescale = rescale_ > 0 ? rescale_ : (width == 224 ? 50 : 1);
    const at::Tensor displacement =
        warping_field(k, height, width, static_cast<std::uint64_t>(pattern_seed_)) * (strength_ * rescale);
    const at::Tensor x = at::linspace(-1, 1, width);
    const at::Tensor y = at::linspace(-1, 1, height).unsqueeze(1);
    return at::stack({x + displacement[0] / width, y + displacement[1] / height}, 2)
        .clamp(-1, 1)
        .unsqueeze(0);
  }

  TargetOptions target_;
  std::int64_t control_points_ = 4;
  double strength_ = 0.5;
  double rescale_ = 1;
  double cross_ratio_ = 2;
  std::int64_t pattern_seed_ = 0;
  std::uint64_t seed_ = 0;
};

}  // namespace

at::Tensor warping_field(std::int64_t control_points, std::int64_t height, std::int64_t width,
                         std::uint64_t seed) {
  at::Tensor control = at::empty({1, 2, control_points, control_points});
  fill_uniform(control.data_ptr<float>(), control.numel(), derive_seed(seed, "wanet field"));
  control /= control.abs().mean();
  return at::upsample_bicubic2d(control, {height, width}, /*align_corners=*/true).squeeze(0);
}

std::unique_ptr<Attack> make_wanet() { return std::make_unique<WaNet>(); }

}  // namespace mcci
