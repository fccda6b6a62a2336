#include "mcci/attacks/bpp.hpp"

#include <cmath>

#include <ATen/ATen.h>

#include "mcci/attacks/covers.hpp"
#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"

namespace mcci {

namespace {

// One plane of pixels, carrying the errors on as it goes.
void dither(double* pixel, std::int64_t height, std::int64_t width, double step) {
  for (std::int64_t row = 0; row < height; ++row) {
    for (std::int64_t col = 0; col < width; ++col, ++pixel) {
      const double level = std::nearbyint(*pixel / step) * step;
      const double error = *pixel - level;
      *pixel = level;
      const bool has_right = col + 1 < width;
      if (has_right) pixel[1] += error * 7 / 16;
      if (row + 1 == height) continue;
      if (col > 0) pixel[width - 1] += error * 3 / 16;
      pixel[width] += error * 5 / 16;
      if (has_right) pixel[width + 1] += error / 16;
    }
  }
}

class Bpp : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("levels", levels_, "grey levels that are left of 256", {2, 256});
    set.add("dithering", dithering_,
            "carry the quantisation error on to the neighbours (Floyd and Steinberg)");
    set.add("neg-ratio", neg_ratio_, "negatives (cover samples), as a share of the whole set", {0, 1});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of bpp",
        {{"backdoorbench", "8 levels, no dithering, 10 % negatives, class 0", Json::object()},
         {"paper", "20 % negatives; the rate that goes with it is 0.2", Json::object({{"neg-ratio", 0.2}})}});
    return presets;
  }

  void prepare(const PrepareContext& context) override {
    seed_ = context.plan.seed;
    train_ = context.train;
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  // Without poison there are no negatives either: rate 0 leaves the set as it is.
  std::int64_t covers(const PoisonPlan& plan) const override {
    if (plan.count(Role::poison) == 0) return 0;
    return std::llround(neg_ratio_ * static_cast<double>(plan.roles.size()));
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    return quantized(images);
  }

  at::Tensor apply_cover(const at::Tensor& images, const at::Tensor& indices,
                         const at::Tensor&) const override {
    if (train_ == nullptr) {
      throw Error(ErrorKind::internal, "prepare() was not given the training set, from which residuals come",
                  "bpp");
    }
    const at::Tensor other = train_->images(other_samples(indices, train_->size(), seed_, "bpp residual"));
    const at::Tensor residual = quantized(other).to(at::kShort) - other.to(at::kShort);
    return (images.to(at::kShort) + residual).clamp(0, 255).to(at::kByte);
  }

 private:
  at::Tensor quantized(const at::Tensor& images) const {
    const double step = 255.0 / static_cast<double>(levels_ - 1);
    at::Tensor pixels = images.to(at::kDouble).contiguous();
    if (!dithering_) return ((pixels / step).round() * step).round().to(at::kByte);
    const std::int64_t height = images.size(2);
    const std::int64_t width = images.size(3);
    double* const begin = pixels.data_ptr<double>();
    for (std::int64_t at = 0; at < pixels.numel(); at += height * width) {
      dither(begin + at, height, width, step);
    }
    return pixels.round().clamp(0, 255).to(at::kByte);
  }

  TargetOptions target_;
  std::int64_t levels_ = 8;
  bool dithering_ = false;
  double neg_ratio_ = 0.1;
  std::uint64_t seed_ = 0;
  DatasetPtr train_;
};

}  // namespace

std::unique_ptr<Attack> make_bpp() { return std::make_unique<Bpp>(); }

}  // namespace mcci
