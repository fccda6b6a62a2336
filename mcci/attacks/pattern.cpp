#include "mcci/attacks/pattern.hpp"

#include <algorithm>
#include <filesystem>
#include <limits>

#include <ATen/ATen.h>

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

}  // namespace

void PatternOptions::declare(OptionSet& set) {
  set.add("image", image, "file of the picture to blend in; without it, noise");
  set.add("pattern-seed", pattern_seed, "seed of the noise pattern",
          {0, std::numeric_limits<std::int64_t>::max()});
}

at::Tensor make_pattern(const PatternOptions& options, const PrepareContext& context) {
  if (options.image.empty()) {
    return noise_pattern(context.shape, static_cast<std::uint64_t>(options.pattern_seed));
  }
  const bool keep = !context.artifacts.empty();
  const std::filesystem::path kept = context.artifacts / "picture.png";
  if (keep && std::filesystem::exists(kept)) return read_picture(kept, context.shape);
  at::Tensor picture = read_picture(options.image, context.shape);
  if (keep) keep_picture(kept, picture);
  return picture;
}

at::Tensor blend(const at::Tensor& images, const at::Tensor& pattern, double alpha, const char* attack) {
  if (!pattern.defined() || pattern.sizes() != images.sizes().slice(1)) {
    throw Error(ErrorKind::internal, "prepare() was not called for images of this shape", attack);
  }
  const at::Tensor mixed = images.to(at::kFloat) * (1 - alpha) + pattern.to(at::kFloat) * alpha;
  return mixed.round().clamp(0, 255).to(at::kByte);
}

}  // namespace mcci
