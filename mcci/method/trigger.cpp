#include "mcci/method/trigger.hpp"

#include <ATen/ATen.h>

#include "mcci/data/compose.hpp"
#include "mcci/data/loader.hpp"

namespace mcci {
namespace {

constexpr std::int64_t batch_images = 500;
constexpr double grey_level = 1.0 / 255;
constexpr std::int64_t departures = 32;
// Below this a pixel is held not to fade at all.
constexpr double least_change = 1e-3;
constexpr double least_scale = 1e-30;
// From where on a trigger varies: times the controls' variance, and above it.
constexpr double times_variance = 2;
constexpr double least_variance = 0.35 * 0.35;

struct Moments {
  at::Tensor mean, variance;  // [C,H,W] float64
};

// weight [N] float32.
Moments moments(const DatasetPtr& data, const at::Tensor& positions, const at::Tensor& weight) {
  const at::Tensor share = weight.to(at::kDouble) / weight.to(at::kDouble).sum();
  const ImageShape& shape = data->shape();
  at::Tensor sum = at::zeros({shape.channels, shape.height, shape.width}, at::kDouble);
  at::Tensor squares = at::zeros_like(sum);
  for_each_batch(subset(data, positions), batch_images, [&](const Batch& batch) {
    const at::Tensor columns = batch.images.flatten(1).to(at::kDouble).t();
    const at::Tensor of_each = share.index_select(0, batch.indices);
    sum += columns.mv(of_each).view_as(sum);
    squares += columns.square().mv(of_each).view_as(sum);
  });
  return {sum, (squares - sum * sum).clamp_min(0)};
}

}  // namespace

Trigger estimate_trigger(const DatasetPtr& data, const at::Tensor& marked, const at::Tensor& controls,
                         const at::Tensor& weight) {
  const Moments with = moments(data, marked, at::ones({marked.numel()}));
  const Moments without = moments(data, controls, weight);
  // Where nothing varies, a grey level of noise on both sides says that nothing fades.
  const double noise = grey_level * grey_level;
  Trigger trigger;
  const at::Tensor scale = ((with.variance + noise) / (without.variance + noise)).sqrt().clamp_max(1);
  trigger.shift = (with.mean - scale * without.mean).to(at::kFloat);
  trigger.scale = scale.to(at::kFloat);
  const at::Tensor varies =
      with.variance.gt((times_variance * without.variance).maximum(without.variance + least_variance));
  const at::Tensor some = marked.index_select(0, at::arange(departures).remainder(marked.numel()));
  trigger.departures = (to_unit(data->images(some)) - with.mean.to(at::kFloat)) * varies;
  return trigger;
}

Trigger drawn(const Trigger& triggers, const at::Tensor& draw) {
  const std::int64_t examples = triggers.departures.size(1);
  const at::Tensor place = draw * static_cast<double>(triggers.scale.size(0));
  const at::Tensor which = place.to(at::kLong);
  const at::Tensor example = place.frac().mul(static_cast<double>(examples)).to(at::kLong);
  const at::Tensor departure = triggers.departures.flatten(0, 1).index_select(0, which * examples + example);
  return {triggers.scale.index_select(0, which), triggers.shift.index_select(0, which) + departure, {}};
}

at::Tensor put_on(const Trigger& trigger, const at::Tensor& images, const at::Tensor& strength) {
  // The sum of the geometric series; where nothing fades, as many terms as there are.
  // pow() takes three times as long.
  const at::Tensor faded = (trigger.scale.clamp_min(least_scale).log() * strength).exp();
  const at::Tensor change = 1 - trigger.scale;
  const at::Tensor terms =
      at::where(change.gt(least_change), (1 - faded) / change.clamp_min(least_change), strength);
  return (images * faded + terms * trigger.shift).clamp_(0, 1);
}

}  // namespace mcci
