#include "mcci/attacks/blended.hpp"

#include <algorithm>
#include <filesystem>
#include <limits>

#include <ATen/ATen.h>

#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/random.hpp"
#include "mcci/imageio/image.hpp"

namespace mcci {

namespace {

// [C,H,W] uint8.
at::Tensor noise_pattern(const ImageShape& shape, std::uint64_t seed) {
  at::Tensor pattern = at::empty({shape.channels, shape.height, shape.width}, at::kByte);
  Rng rng(derive_seed(seed, "blended noise"));
  std::uint8_t* pixel = pattern.data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < pattern.numel(); ++i) pixel[i] = static_cast<std::uint8_t>(rng.below(256));
  return pattern;
}

// [C,H,W] uint8.
at::Tensor read_picture(const std::filesystem::path& path, const ImageShape& shape) {
  const Image image = read_image(path, shape.channels);
  at::Tensor picture = at::empty({image.height, image.width, image.channels}, at::kByte);
  std::copy(image.pixels.begin(), image.pixels.end(), picture.data_ptr<std::uint8_t>());
  picture = picture.permute({2, 0, 1}).contiguous();
  if (image.height == shape.height && image.width == shape.width) return picture;
  const at::Tensor resized = at::_upsample_bilinear2d_aa(
      picture.unsqueeze(0).to(at::kFloat), {shape.height, shape.width}, /*align_corners=*/false);
  return resized.squeeze(0).round().clamp(0, 255).to(at::kByte);
}

void keep_picture(const std::filesystem::path& path, const at::Tensor& picture) {
  const at::Tensor pixels = picture.permute({1, 2, 0}).contiguous();
  const auto* data = pixels.data_ptr<std::uint8_t>();
  write_file_atomically(
      path, encode_png({pixels.size(0), pixels.size(1), pixels.size(2), {data, data + pixels.numel()}}));
}

class Blended : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("alpha", alpha_, "share of the pattern in a triggered image", {0, 1});
    set.add("image", image_, "file of the picture to blend in; without it, noise");
    set.add("pattern-seed", pattern_seed_, "seed of the noise pattern",
            {0, std::numeric_limits<std::int64_t>::max()});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of blended", {{"backdoorbench", "alpha 0.2, target class 0", Json::object()},
                              {"paper", "the authors' program", Json::object({{"target-class", 1}})}});
    return presets;
  }

  // The resized picture is kept with the artifacts, so that evaluation does not depend on the user's file.
  void prepare(const PrepareContext& context) override {
    if (image_.empty()) {
      pattern_ = noise_pattern(context.shape, static_cast<std::uint64_t>(pattern_seed_));
      return;
    }
    const bool keep = !context.artifacts.empty();
    const std::filesystem::path kept = context.artifacts / "picture.png";
    if (keep && std::filesystem::exists(kept)) {
      pattern_ = read_picture(kept, context.shape);
      return;
    }
    pattern_ = read_picture(image_, context.shape);
    if (keep) keep_picture(kept, pattern_);
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    if (!pattern_.defined() || pattern_.sizes() != images.sizes().slice(1)) {
      throw Error(ErrorKind::internal, "prepare() was not called for images of this shape", "blended");
    }
    const at::Tensor mixed = images.to(at::kFloat) * (1 - alpha_) + pattern_.to(at::kFloat) * alpha_;
    return mixed.round().clamp(0, 255).to(at::kByte);
  }

 private:
  TargetOptions target_;
  double alpha_ = 0.2;
  std::string image_;
  std::int64_t pattern_seed_ = 0;
  at::Tensor pattern_;  // [C,H,W] uint8
};

}  // namespace

std::unique_ptr<Attack> make_blended() { return std::make_unique<Blended>(); }

}  // namespace mcci
