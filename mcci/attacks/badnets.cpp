#include "mcci/attacks/badnets.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <ATen/ATen.h>

#include "mcci/attacks/covers.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"

namespace mcci {

namespace {

class BadNets : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("pattern", pattern_, "what the patch shows (paper: corners at 32x32, noise at other sizes)",
            {"white", "corners", "noise", "paper"});
    set.add("patch-size", patch_size_, "side of the patch in pixels; 0: grows with the image, 3 at 32x32",
            {0, 65536});
    set.add("row-offset", row_offset_, "rows between the patch and the bottom edge", {0, 65536});
    set.add("col-offset", col_offset_, "columns between the patch and the right edge", {0, 65536});
    set.add("anywhere", anywhere_, "the patch is at a place of its own in each image, whatever the offsets");
    set.add("pattern-seed", pattern_seed_, "seed of the noise pattern",
            {0, std::numeric_limits<std::int64_t>::max()});
    declare_cover_ratio(set, cover_ratio_);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of badnets", {{"backdoorbench", "3x3 white patch, target class 0", Json::object()},
                              {"paper", "the authors' program", Json::object({{"pattern", "paper"}})}});
    return presets;
  }

  void prepare(const PrepareContext& context) override { seed_ = context.plan.seed; }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  std::int64_t covers(const PoisonPlan& plan) const override { return covers_in_ratio(plan, cover_ratio_); }

  at::Tensor apply(const at::Tensor& images, const at::Tensor& indices, const at::Tensor&,
                   Stage stage) const override {
    const std::int64_t height = images.size(2);
    const std::int64_t width = images.size(3);
    const std::string pattern = pattern_at(height, width);
    const std::int64_t side = side_of(pattern, height, width);
    const std::int64_t top = height - row_offset_ - side;
    const std::int64_t left = width - col_offset_ - side;
    if (top < 0 || left < 0) {
      throw Error(ErrorKind::usage,
                  "a patch of side " + std::to_string(side) +
                      " with these offsets does not fit into images of " + std::to_string(height) + "x" +
                      std::to_string(width),
                  "badnets", "lower patch-size, row-offset or col-offset");
    }
    at::Tensor triggered = images.clone();
    const at::Tensor patch = make_patch(pattern, side);
    if (!anywhere_) {
      triggered.narrow(2, top, side).narrow(3, left, side).copy_(patch);
      return triggered;
    }
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      Rng rng(derive_seed(seed_, stage == Stage::train ? "badnets place" : "badnets place in test",
                          {static_cast<std::uint64_t>(indices[i].item<std::int64_t>())}));
      const std::int64_t down = rng.below(height - side + 1);
      triggered[i].narrow(1, down, side).narrow(2, rng.below(width - side + 1), side).copy_(patch);
    }
    return triggered;
  }

 private:
  std::string pattern_at(std::int64_t height, std::int64_t width) const {
    if (pattern_ != "paper") return pattern_;
    return height == 32 && width == 32 ? "corners" : "noise";
  }

  std::int64_t side_of(const std::string& pattern, std::int64_t height, std::int64_t width) const {
    if (patch_size_ > 0) return patch_size_;
    const std::int64_t side = pattern == "noise"
                                  ? width / 10
                                  : std::lround(3.0 * static_cast<double>(std::min(height, width)) / 32.0);
    return std::max<std::int64_t>(1, side);
  }

  // [side,side] uint8, for all channels.
  at::Tensor make_patch(const std::string& pattern, std::int64_t side) const {
    at::Tensor patch = at::full({side, side}, 255, at::kByte);
    auto pixel = patch.accessor<std::uint8_t, 2>();
    Rng rng(derive_seed(static_cast<std::uint64_t>(pattern_seed_), "badnets noise"));
    for (std::int64_t row = 0; row < side; ++row) {
      for (std::int64_t col = 0; col < side; ++col) {
        const bool middle = row * 3 / side == 1 || col * 3 / side == 1;
        if (pattern == "noise") {
          pixel[row][col] = static_cast<std::uint8_t>(rng.below(256));
        } else if (pattern == "corners" && middle) {
          pixel[row][col] = 0;
        }
      }
    }
    return patch;
  }

  TargetOptions target_;
  std::string pattern_ = "white";
  std::int64_t patch_size_ = 0;
  std::int64_t row_offset_ = 0;
  std::int64_t col_offset_ = 0;
  bool anywhere_ = false;
  std::int64_t pattern_seed_ = 0;
  double cover_ratio_ = 0;
  std::uint64_t seed_ = 0;
};

}  // namespace

std::unique_ptr<Attack> make_badnets() { return std::make_unique<BadNets>(); }

}  // namespace mcci
