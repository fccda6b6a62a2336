#include "mcci/attacks/adaptive_patch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/attacks/covers.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"

namespace mcci {

namespace {

constexpr const char* attack_name = "adaptive-patch";
constexpr std::size_t trigger_count = 4;

using Colour = std::array<int, 3>;
constexpr Colour nothing{-1, -1, -1};  // the image shows through

// What a trigger shows at (row, col) of its square; y and x run from -1 to 1.
Colour disc(double y, double x) {
  const double radius = std::hypot(y, x);
  if (radius > 1) return nothing;
  if (radius < 0.4) return {255, 220, 80};
  return radius < 0.7 ? Colour{230, 60, 30} : Colour{120, 20, 60};
}

Colour open_ring(double y, double x) {
  const double radius = std::hypot(y, x);
  if (radius > 1 || (radius >= 0.6 && y < 0 && x > 0)) return nothing;
  return radius < 0.6 ? Colour{40, 90, 220} : Colour{255, 140, 20};
}

Colour chequer(double y, double x) {
  const bool white = (std::lround(std::floor(2 * y)) + std::lround(std::floor(2 * x))) % 2 == 0;
  return white ? Colour{255, 255, 255} : Colour{0, 0, 0};
}

struct Trigger {
  at::Tensor pixels;   // [C,side,side] float32, 0 .. 255
  at::Tensor covered;  // [side,side] float32: 1 where it shows something, else 0
  std::int64_t top = 0;
  std::int64_t left = 0;
};

template <class Picture>
Trigger draw(std::int64_t channels, std::int64_t side, Picture picture) {
  Trigger trigger{at::zeros({3, side, side}), at::zeros({side, side})};
  auto pixel = trigger.pixels.accessor<float, 3>();
  auto covered = trigger.covered.accessor<float, 2>();
  for (std::int64_t row = 0; row < side; ++row) {
    for (std::int64_t col = 0; col < side; ++col) {
      const auto at = [side](std::int64_t i) {
        return static_cast<double>(2 * i + 1) / static_cast<double>(side) - 1;
      };
      const Colour colour = picture(at(row), at(col));
      if (colour == nothing) continue;
      covered[row][col] = 1;
      for (std::size_t c = 0; c < 3; ++c) {
        pixel[static_cast<std::int64_t>(c)][row][col] = static_cast<float>(colour[c]);
      }
    }
  }
  if (channels == 1) trigger.pixels = trigger.pixels.mean(0, /*keepdim=*/true);
  return trigger;
}

std::array<Trigger, trigger_count> draw_all(const ImageShape& shape) {
  const auto side_of = [&](double at_32) {
    return std::max<std::int64_t>(
        1, std::lround(at_32 * static_cast<double>(std::min(shape.height, shape.width)) / 32));
  };
  Rng rng(derive_seed(0, "adaptive-patch noise"));
  const auto noise = [&](double, double) {
    Colour colour{};
    for (int& level : colour) level = static_cast<int>(rng.below(256));
    return colour;
  };
  std::array<Trigger, trigger_count> triggers{
      draw(shape.channels, side_of(10), disc), draw(shape.channels, side_of(10), open_ring),
      draw(shape.channels, side_of(4), chequer), draw(shape.channels, side_of(8), noise)};
  for (const std::size_t bottom : {0, 1}) {
    triggers[bottom].top = shape.height - triggers[bottom].pixels.size(1);
  }
  for (const std::size_t right : {0, 3}) {
    triggers[right].left = shape.width - triggers[right].pixels.size(2);
  }
  return triggers;
}

// Onto the image [C,H,W] float32, in place.
void put(const at::Tensor& image, const Trigger& trigger, double alpha) {
  const std::int64_t side = trigger.pixels.size(1);
  at::Tensor region = image.narrow(1, trigger.top, side).narrow(2, trigger.left, side);
  region.add_(trigger.covered * (trigger.pixels - region), alpha);
}

class AdaptivePatch : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    for (std::size_t i = 0; i < trigger_count; ++i) {
      const std::string number = std::to_string(i + 1);
      set.add("alpha-" + number, alphas_[i], "share of trigger " + number + " in training", {0, 1});
    }
    set.add("test-alpha", test_alpha_, "share of each trigger at test time", {0, 1});
    set.add("test-triggers", test_triggers_, "the triggers that a test image shows", {"1", "2", "3", "4"});
    declare_cover_ratio(set, cover_ratio_);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of adaptive-patch",
        {{"backdoorbench", "the Backdoor Toolbox on CIFAR-10, target class 0", Json::object()},
         {"gtsrb", "the Backdoor Toolbox on GTSRB: triggers 2 and 4 at test time",
          Json::object({{"test-triggers", {"2", "4"}}})}});
    return presets;
  }

  void prepare(const PrepareContext& context) override {
    shape_ = context.shape;
    seed_ = context.plan.seed;
    triggers_ = draw_all(context.shape);
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  std::int64_t covers(const PoisonPlan& plan) const override { return covers_in_ratio(plan, cover_ratio_); }

  at::Tensor apply(const at::Tensor& images, const at::Tensor& indices, const at::Tensor&,
                   Stage stage) const override {
    if (images.size(1) != shape_.channels || images.size(2) != shape_.height ||
        images.size(3) != shape_.width) {
      throw Error(ErrorKind::internal, "prepare() was not called for images of this shape", attack_name);
    }
    const at::Tensor triggered = images.to(at::kFloat);
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      if (stage == Stage::train) {
        const auto index = indices[i].item<std::int64_t>();
        Rng rng(derive_seed(seed_, "adaptive-patch trigger", {static_cast<std::uint64_t>(index)}));
        const auto chosen = static_cast<std::size_t>(rng.below(trigger_count));
        put(triggered[i], triggers_[chosen], alphas_[chosen]);
      } else {
        for (const std::string& number : test_triggers_) {
          put(triggered[i], triggers_[static_cast<std::size_t>(number[0] - '1')], test_alpha_);
        }
      }
    }
    return triggered.round().clamp(0, 255).to(at::kByte);
  }

 private:
  TargetOptions target_;
  std::array<double, trigger_count> alphas_{0.5, 0.2, 0.5, 0.3};
  double test_alpha_ = 1;
  std::vector<std::string> test_triggers_{"1", "3"};
  double cover_ratio_ = 2;
  std::uint64_t seed_ = 0;
  ImageShape shape_;
  std::array<Trigger, trigger_count> triggers_;
};

}  // namespace

std::unique_ptr<Attack> make_adaptive_patch() { return std::make_unique<AdaptivePatch>(); }

}  // namespace mcci
