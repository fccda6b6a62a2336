#include "mcci/baselines/views.hpp"

#include <cmath>

#include <torch/types.h>

namespace mcci {
namespace {

// [B] in [low, high).
at::Tensor drawn(const at::Tensor& images, double low, double high) {
  return torch::rand({images.size(0)}, images.options().memory_format(c10::nullopt)) * (high - low) + low;
}

at::Tensor drawn_columns(const at::Tensor& images, double low, double high) {
  return drawn(images, low, high).view({-1, 1, 1, 1});
}

// Where each pixel of the view comes from, as rows of an affine map on [-1,1]^2: [B,2,3].
at::Tensor maps(const at::Tensor& images, const ViewOptions& options) {
  const auto pixels = [](std::int64_t side) { return 2.0 / static_cast<double>(side); };
  const at::Tensor angle = drawn(images, -options.rotation, options.rotation) * (M_PI / 180);
  const at::Tensor scale = drawn(images, options.least_area, 1).sqrt();
  const at::Tensor mirror = options.flip ? 1 - 2 * drawn(images, 0, 2).floor() : torch::ones_like(scale);
  const at::Tensor room = 1 - scale;
  const at::Tensor dx = room * drawn(images, -1, 1) +
                        pixels(images.size(3)) * drawn(images, -options.shift, options.shift + 1e-9).round();
  const at::Tensor dy = room * drawn(images, -1, 1) +
                        pixels(images.size(2)) * drawn(images, -options.shift, options.shift + 1e-9).round();
  const at::Tensor x = torch::stack({mirror * scale * angle.cos(), -scale * angle.sin(), dx}, 1);
  const at::Tensor y = torch::stack({mirror * scale * angle.sin(), scale * angle.cos(), dy}, 1);
  return torch::stack({x, y}, 1);
}

// Black where row and column both lie in [centre - size / 2, centre - size / 2 + size).
at::Tensor with_hole(const at::Tensor& images, std::int64_t size) {
  const auto inside = [&](std::int64_t side) {
    const at::Tensor from = drawn(images, 0, static_cast<double>(side)).to(torch::kLong) - size / 2;
    const at::Tensor place = torch::arange(side, from.options()).unsqueeze(0) - from.unsqueeze(1);
    return place.ge(0).logical_and(place.lt(size));
  };
  const at::Tensor rows = inside(images.size(2));
  const at::Tensor columns = inside(images.size(3));
  const at::Tensor hole = rows.unsqueeze(2).logical_and(columns.unsqueeze(1));
  return images.masked_fill(hole.unsqueeze(1), 0);
}

}  // namespace

at::Tensor random_view(const at::Tensor& images, const ViewOptions& options) {
  at::Tensor view = images;
  if (options.flip || options.shift > 0 || options.rotation > 0 || options.least_area < 1) {
    const at::Tensor grid =
        torch::affine_grid_generator(maps(images, options), images.sizes(), /*align_corners=*/false);
    view = torch::grid_sampler(images, grid, /*interpolation_mode=*/0, /*padding_mode=*/0,
                               /*align_corners=*/false);
  }
  if (options.brightness > 0)
    view = view * drawn_columns(images, 1 - options.brightness, 1 + options.brightness);
  if (options.contrast > 0) {
    const at::Tensor mean = view.mean({1, 2, 3}, /*keepdim=*/true);
    view = mean + (view - mean) * drawn_columns(images, 1 - options.contrast, 1 + options.contrast);
  }
  if (options.grey > 0 && images.size(1) > 1) {
    const at::Tensor is_grey = drawn_columns(images, 0, 1).lt(options.grey);
    view = torch::where(is_grey, view.mean(1, /*keepdim=*/true).expand_as(view), view);
  }
  if (options.noise > 0) view = view + options.noise * torch::randn_like(view);
  view = view.clamp(0, 1);
  return options.cutout > 0 ? with_hole(view, options.cutout) : view;
}

}  // namespace mcci
