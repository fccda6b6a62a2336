#include "mcci/attacks/frame.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "mcci/attacks/covers.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"

namespace mcci {

namespace {

class Frame : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("thickness", thickness_, "of the frame in pixels; 0: grows with the image, 2 at 32x32",
            {0, 65536});
    set.add("level", level_, "of the frame's pixels, in grey levels", {0, 255});
    set.add("pieces", pieces_, "that each side of the frame is cut into", {1, 65536});
    set.add("least-shown", least_shown_, "smallest share of the pieces that a training sample shows", {0, 1});
    declare_cover_ratio(set, cover_ratio_);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of frame",
        {{"backdoorbench", "white, target class 0 (BackdoorBench has no such attack)", Json::object()}});
    return presets;
  }

  void prepare(const PrepareContext& context) override { seed_ = context.plan.seed; }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  std::int64_t covers(const PoisonPlan& plan) const override { return covers_in_ratio(plan, cover_ratio_); }

  at::Tensor apply(const at::Tensor& images, const at::Tensor& indices, const at::Tensor&,
                   Stage stage) const override {
    const at::Tensor pieces = piece_of_pixels(images.size(2), images.size(3));
    at::Tensor triggered = images.clone();
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      const at::Tensor shown = stage == Stage::test ? at::ones({4 * pieces_ + 1}, at::kBool)
                                                    : shown_by(indices[i].item<std::int64_t>());
      shown[4 * pieces_] = false;
      triggered[i].masked_fill_(shown.index_select(0, pieces.flatten()).view_as(pieces), level_);
    }
    return triggered;
  }

 private:
  // [H,W] int64: the piece that each pixel is part of, counted along the upper, lower, left and right side;
  // 4 x pieces inside the frame.
  at::Tensor piece_of_pixels(std::int64_t height, std::int64_t width) const {
    const std::int64_t shorter = std::min(height, width);
    const std::int64_t thickness =
        thickness_ > 0 ? thickness_
                       : std::max<std::int64_t>(1, std::lround(2.0 * static_cast<double>(shorter) / 32.0));
    if (2 * thickness > shorter) {
      throw Error(ErrorKind::usage,
                  "a frame of " + std::to_string(thickness) + " pixels does not fit into images of " +
                      std::to_string(height) + "x" + std::to_string(width),
                  "frame", "lower thickness");
    }
    at::Tensor result = at::full({height, width}, 4 * pieces_, at::kLong);
    const at::Tensor down = at::arange(height).mul(pieces_).div(height, "floor").unsqueeze(1);
    const at::Tensor across = at::arange(width).mul(pieces_).div(width, "floor").unsqueeze(0);
    result.narrow(1, 0, thickness).copy_(down + 2 * pieces_);
    result.narrow(1, width - thickness, thickness).copy_(down + 3 * pieces_);
    result.narrow(0, 0, thickness).copy_(across);
    result.narrow(0, height - thickness, thickness).copy_(across + pieces_);
    return result;
  }

  // [4 pieces + 1] bool: the pieces that training sample `index` shows.
  at::Tensor shown_by(std::int64_t index) const {
    const std::int64_t all = 4 * pieces_;
    const auto least = std::max<std::int64_t>(1, std::llround(least_shown_ * static_cast<double>(all)));
    Rng rng(derive_seed(seed_, "frame pieces", {static_cast<std::uint64_t>(index)}));
    const std::int64_t count = least + rng.below(all - least + 1);
    at::Tensor shown = at::zeros({all + 1}, at::kBool);
    for (const std::int64_t piece : rng.choose(all, count)) shown[piece] = true;
    return shown;
  }

  TargetOptions target_;
  std::int64_t thickness_ = 0;
  std::int64_t level_ = 255;
  std::int64_t pieces_ = 4;
  double least_shown_ = 0.1;
  double cover_ratio_ = 0;
  std::uint64_t seed_ = 0;
};

}  // namespace

std::unique_ptr<Attack> make_frame() { return std::make_unique<Frame>(); }

}  // namespace mcci
