#include "mcci/attacks/refool.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>

#include <ATen/ATen.h>

#include "mcci/attacks/target.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"
#include "mcci/state/tensors.hpp"

namespace mcci {

namespace {

constexpr double display_gamma = 2.2;

// All of one sample's draws; lengths in pixels of the reference size.
struct Draw {
  std::int64_t picture = 0;
  double alpha = 1;
  bool ghost = false;
  double row_offset = 0, col_offset = 0;
  double second_copy = 0;  // share of the copy that is shifted
  double sigma = 0;
  double lowering = 0;
  double row_window = 0, col_window = 0;  // [0,1): where the fading's centre lies along the shorter side
};

// [n,n] float32 -> what enlarges the first n - offset samples of a line, moved by `shift`, to n samples.
at::Tensor shifted_line(std::int64_t n, double offset, double shift) {
  at::Tensor matrix = at::zeros({n, n});
  auto weight = matrix.accessor<float, 2>();
  const double kept = std::max(1.0, static_cast<double>(n) - offset);
  for (std::int64_t i = 0; i < n; ++i) {
    const double within =
        std::clamp((static_cast<double>(i) + 0.5) * kept / static_cast<double>(n) - 0.5, 0.0, kept - 1);
    const double at = std::min(within + shift, static_cast<double>(n - 1));
    const auto low = static_cast<std::int64_t>(std::floor(at));
    const auto part = static_cast<float>(at - static_cast<double>(low));
    weight[i][low] += 1 - part;
    weight[i][std::min(low + 1, n - 1)] += part;
  }
  return matrix;
}

// [n,n] float32: a Gaussian of radius ceil(2 sigma), normalised where the border cuts it off.
at::Tensor blurred_line(std::int64_t n, double sigma) {
  at::Tensor matrix = at::zeros({n, n});
  auto weight = matrix.accessor<float, 2>();
  const auto radius = static_cast<std::int64_t>(std::ceil(2 * sigma));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = std::max<std::int64_t>(0, i - radius); j <= std::min(n - 1, i + radius); ++j) {
      const double distance = static_cast<double>(i - j) / sigma;
      weight[i][j] = static_cast<float>(std::exp(-distance * distance / 2));
    }
  }
  return matrix / matrix.sum(1, /*keepdim=*/true);
}

// [n] float32: the fading along one side of an image whose longer side is `longest`.
at::Tensor fading_line(std::int64_t n, std::int64_t longest, double window, double pixel) {
  const double slack = static_cast<double>(longest - n) - 10 * pixel;
  const double start = slack > 0 ? window * slack : 0;
  at::Tensor line = at::empty({n});
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = 6 * (start + static_cast<double>(i) + 0.5) / static_cast<double>(longest) - 3;
    line[i] = std::exp(-x * x / 4);
  }
  return line;
}

at::Tensor along_both(const at::Tensor& rows, const at::Tensor& picture, const at::Tensor& cols) {
  return at::matmul(at::matmul(rows, picture), cols.t());
}

at::Tensor ghosted(const at::Tensor& picture, const Draw& draw, double pixel) {
  const std::int64_t height = picture.size(1);
  const std::int64_t width = picture.size(2);
  const double rows = draw.row_offset * pixel;
  const double cols = draw.col_offset * pixel;
  const auto copy = [&](double share, double down, double right) {
    return along_both(shifted_line(height, rows, down), picture, shifted_line(width, cols, right)) * share;
  };
  return (copy(draw.second_copy, rows, cols) + copy(1 - draw.second_copy, 0, 0)) * (1 - draw.alpha);
}

at::Tensor out_of_focus(const at::Tensor& picture, const at::Tensor& image, const Draw& draw, double pixel) {
  const std::int64_t height = picture.size(1);
  const std::int64_t width = picture.size(2);
  const double sigma = draw.sigma * pixel;
  at::Tensor blurred = along_both(blurred_line(height, sigma), picture, blurred_line(width, sigma));
  for (std::int64_t c = 0; c < picture.size(0); ++c) {
    const at::Tensor sum = blurred[c] + image[c];
    const at::Tensor beyond_white = sum.masked_select(sum > 1);
    if (beyond_white.numel() > 0) blurred[c] -= (beyond_white.mean() - 1) * draw.lowering;
  }
  const std::int64_t longest = std::max(height, width);
  const at::Tensor fading = at::outer(fading_line(height, longest, draw.row_window, pixel),
                                      fading_line(width, longest, draw.col_window, pixel));
  return blurred.clamp(0, 1) * fading * (1 - draw.alpha / 2);
}

// [C,H,W] uint8.
at::Tensor drawn_reflection(const ImageShape& shape, std::uint64_t seed, std::int64_t number) {
  constexpr int scales = 4;
  constexpr int panes = 6;
  Rng rng(derive_seed(seed, "refool picture", {static_cast<std::uint64_t>(number)}));
  at::Tensor picture = at::zeros({3, shape.height, shape.width});
  for (int scale = 1; scale <= scales; ++scale) {
    const std::int64_t side = (std::int64_t{1} << scale) + 1;
    at::Tensor coarse = at::empty({1, 3, side, side});
    auto* value = coarse.data_ptr<float>();
    for (std::int64_t i = 0; i < coarse.numel(); ++i) value[i] = static_cast<float>(rng.uniform());
    picture += at::upsample_bilinear2d(coarse, {shape.height, shape.width}, /*align_corners=*/true)[0] *
               std::pow(0.5, scale);
  }
  const auto stretch = [&rng](std::int64_t length) {
    const auto begin = static_cast<std::int64_t>(rng.uniform(0, 0.9) * static_cast<double>(length));
    const auto extent = static_cast<std::int64_t>(rng.uniform(0.1, 0.5) * static_cast<double>(length)) + 1;
    return std::pair{begin, std::min(extent, length - begin)};
  };
  for (int pane = 0; pane < panes; ++pane) {
    const auto [top, height] = stretch(shape.height);
    const auto [left, width] = stretch(shape.width);
    const double opacity = rng.uniform(0.4, 0.9);
    const double level = rng.chance(0.5) ? rng.uniform(0.7, 1) : rng.uniform(0, 0.3);
    picture.narrow(1, top, height).narrow(2, left, width).mul_(1 - opacity).add_(level * opacity);
  }
  if (shape.channels == 1) picture = picture.mean(0, /*keepdim=*/true);
  return (picture * 255).round().clamp(0, 255).to(at::kByte);
}

class Refool : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    set.add("clean-label", clean_label_, "poison images of the target class, whose labels stay");
    set.add("reflections", reflections_folder_, "folder of pictures to reflect; without it, drawn ones");
    set.add("count", count_, "pictures: the first of the folder, or how many are drawn", {1, 10000});
    set.add("reflection-seed", reflection_seed_, "seed of the drawn pictures",
            {0, std::numeric_limits<std::int64_t>::max()});
    set.add("alpha-min", alpha_min_, "smallest share of the image, drawn for each sample", {0, 1});
    set.add("alpha-max", alpha_max_, "largest share of the image", {0, 1});
    set.add("ghost-rate", ghost_rate_, "share of ghost reflections; the others are out of focus", {0, 1});
    set.add("reference-size", reference_size_,
            "longer side, in pixels, at which offsets (3 .. 8) and sigma (1 .. 5) are counted", {1, 65536});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of refool",
        {{"backdoorbench", "alpha 0.4, labels changed, target class 0", Json::object()},
         {"backdoorbox", "alpha 0.55 .. 0.95", Json::object({{"alpha-min", 0.55}, {"alpha-max", 0.95}})},
         {"paper", "clean labels, alpha 0.55 .. 0.95",
          Json::object({{"alpha-min", 0.55}, {"alpha-max", 0.95}, {"clean-label", true}})}});
    return presets;
  }

  bool clean_label() const override { return clean_label_; }

  void prepare(const PrepareContext& context) override {
    if (alpha_min_ > alpha_max_) {
      throw Error(ErrorKind::usage, "alpha-min is larger than alpha-max", "refool", "swap them");
    }
    if (clean_label_ && target_.target_mode == "all-to-all") {
      throw Error(ErrorKind::usage, "a clean-label attack has one target class", "refool",
                  "give --no-clean-label, or target-mode all-to-one");
    }
    seed_ = context.plan.seed;
    reflections_ = reflections_folder_.empty() ? drawn(context.shape) : users(context);
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor& indices, const at::Tensor&,
                   Stage stage) const override {
    if (!reflections_.defined() || reflections_.sizes().slice(1) != images.sizes().slice(1)) {
      throw Error(ErrorKind::internal, "prepare() was not called for images of this shape", "refool");
    }
    const double pixel =
        static_cast<double>(std::max(images.size(2), images.size(3))) / static_cast<double>(reference_size_);
    at::Tensor triggered = at::empty_like(images);
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      const Draw draw = draw_for(indices[i].item<std::int64_t>(), stage);
      const at::Tensor image = linear_light(images[i]);
      const at::Tensor picture = linear_light(reflections_[draw.picture]);
      const at::Tensor reflection =
          draw.ghost ? ghosted(picture, draw, pixel) : out_of_focus(picture, image, draw, pixel);
      const at::Tensor seen = (reflection + image * draw.alpha).clamp(0, 1).pow(1 / display_gamma);
      triggered[i] = (seen * 255).round().to(at::kByte);
    }
    return triggered;
  }

 private:
  static at::Tensor linear_light(const at::Tensor& pixels) {
    return pixels.to(at::kFloat).div(255).pow(display_gamma);
  }

  Draw draw_for(std::int64_t index, Stage stage) const {
    Rng rng(derive_seed(seed_, stage == Stage::train ? "refool train" : "refool test",
                        {static_cast<std::uint64_t>(index)}));
    Draw draw;
    draw.picture = rng.below(reflections_.size(0));
    draw.alpha = alpha_min_ + (alpha_max_ - alpha_min_) * rng.uniform();
    draw.ghost = rng.chance(ghost_rate_);
    draw.row_offset = static_cast<double>(3 + rng.below(6));
    draw.col_offset = static_cast<double>(3 + rng.below(6));
    const double share = rng.uniform(0.15, 0.5);
    draw.second_copy = rng.chance(0.5) ? 1 - share : share;
    draw.sigma = rng.uniform(1, 5);
    draw.lowering = rng.uniform(1.08, 1.18);
    draw.row_window = rng.uniform();
    draw.col_window = rng.uniform();
    return draw;
  }

  at::Tensor drawn(const ImageShape& shape) const {
    at::Tensor pictures = at::empty({count_, shape.channels, shape.height, shape.width}, at::kByte);
    for (std::int64_t i = 0; i < count_; ++i) {
      pictures[i] = drawn_reflection(shape, static_cast<std::uint64_t>(reflection_seed_), i);
    }
    return pictures;
  }

  // The user's pictures are kept with the artifacts, so that evaluation does not depend on his folder.
  at::Tensor users(const PrepareContext& context) const {
    const bool keep = !context.artifacts.empty();
    const std::filesystem::path kept = context.artifacts / "reflections.safetensors";
    if (keep && std::filesystem::exists(kept)) return read_kept(kept, context.shape);
    const DatasetPtr found = open_images({reflections_folder_}, context.shape, {"reflection"});
    at::Tensor pictures = found->images(at::arange(std::min(count_, found->size())));
    if (keep) save_safetensors(kept, {{"reflections", pictures}});
    return pictures;
  }

  static at::Tensor read_kept(const std::filesystem::path& path, const ImageShape& shape) {
    const TensorFile file = load_safetensors(path);
    if (file.tensors.size() == 1) {
      const at::Tensor& pictures = file.tensors[0].second;
      if (pictures.scalar_type() == at::kByte && pictures.dim() == 4 && pictures.size(0) > 0 &&
          pictures.size(1) == shape.channels && pictures.size(2) == shape.height &&
          pictures.size(3) == shape.width) {
        return pictures;
      }
    }
    throw Error(ErrorKind::data, "it must hold one tensor of uint8 pictures of the images' shape",
                path.string(), "poison the set again");
  }

  TargetOptions target_;
  bool clean_label_ = false;
  std::string reflections_folder_;
  std::int64_t count_ = 200;
  std::int64_t reflection_seed_ = 0;
  double alpha_min_ = 0.4;
  double alpha_max_ = 0.4;
  double ghost_rate_ = 0.49;
  std::int64_t reference_size_ = 560;
  std::uint64_t seed_ = 0;
  at::Tensor reflections_;  // [R,C,H,W] uint8
};

}  // namespace

std::unique_ptr<Attack> make_refool() { return std::make_unique<Refool>(); }

}  // namespace mcci
