#include "mcci/attacks/adaptive_blend.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "mcci/attacks/covers.hpp"
#include "mcci/attacks/pattern.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"

namespace mcci {

namespace {

constexpr const char* attack_name = "adaptive-blend";

class AdaptiveBlend : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("train-alpha", train_alpha_, "share of the pattern in training", {0, 1});
    set.add("test-alpha", test_alpha_, "share of the pattern at test time", {0, 1});
    set.add("pieces", pieces_, "pieces that the pattern is cut into: a square number", {1, 1 << 16});
    set.add("masked", masked_, "share of the pieces that a training sample does not show", {0, 1});
    declare_cover_ratio(set, cover_ratio_);
    pattern_options_.declare(set);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of adaptive-blend",
        {{"backdoorbench", "alpha 0.15 and 0.2, half of 16 pieces, target class 0", Json::object()}});
    return presets;
  }

  void prepare(const PrepareContext& context) override {
    side_ = std::llround(std::sqrt(static_cast<double>(pieces_)));
    if (side_ * side_ != pieces_ || side_ > std::min(context.shape.height, context.shape.width)) {
      throw Error(ErrorKind::usage,
                  std::to_string(pieces_) + " pieces are no square grid of images of " +
                      std::to_string(context.shape.height) + "x" + std::to_string(context.shape.width),
                  "pieces", "give a square number such as 16, at most the square of the shorter side");
    }
    seed_ = context.plan.seed;
    pattern_ = make_pattern(pattern_options_, context);
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  std::int64_t covers(const PoisonPlan& plan) const override { return covers_in_ratio(plan, cover_ratio_); }

  at::Tensor apply(const at::Tensor& images, const at::Tensor& indices, const at::Tensor&,
                   Stage stage) const override {
    if (stage == Stage::test) return blend(images, pattern_, test_alpha_, attack_name);
    at::Tensor triggered = blend(images, pattern_, train_alpha_, attack_name);
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      unmask(triggered[i], images[i], indices[i].item<std::int64_t>());
    }
    return triggered;
  }

 private:
  // Puts back the pieces of the image [C,H,W] that sample `index` does not show.
  void unmask(at::Tensor triggered, const at::Tensor& image, std::int64_t index) const {
    const auto edge = [this](std::int64_t piece, std::int64_t length) { return piece * length / side_; };
    const auto piece_of = [&](const at::Tensor& pixels, std::int64_t row, std::int64_t col) {
      const std::int64_t top = edge(row, pixels.size(1));
      const std::int64_t left = edge(col, pixels.size(2));
      return pixels.narrow(1, top, edge(row + 1, pixels.size(1)) - top)
          .narrow(2, left, edge(col + 1, pixels.size(2)) - left);
    };
    Rng rng(derive_seed(seed_, "adaptive-blend mask", {static_cast<std::uint64_t>(index)}));
    for (const std::int64_t piece :
         rng.choose(pieces_, std::llround(masked_ * static_cast<double>(pieces_)))) {
      piece_of(triggered, piece / side_, piece % side_).copy_(piece_of(image, piece / side_, piece % side_));
    }
  }

  TargetOptions target_;
  double train_alpha_ = 0.15;
  double test_alpha_ = 0.2;
  std::int64_t pieces_ = 16;
  double masked_ = 0.5;
  double cover_ratio_ = 1;
  PatternOptions pattern_options_;
  std::uint64_t seed_ = 0;
  std::int64_t side_ = 0;  // pieces a row
  at::Tensor pattern_;     // [C,H,W] uint8
};

}  // namespace

std::unique_ptr<Attack> make_adaptive_blend() { return std::make_unique<AdaptiveBlend>(); }

}  // namespace mcci
