#include "mcci/method/spectrum.hpp"

#include <algorithm>
#include <cstdint>

#include <ATen/ATen.h>

#include "mcci/signal/dct.hpp"
#include "mcci/signal/high_pass.hpp"

namespace mcci {
namespace {

constexpr std::int64_t least_to_fold = 16;  // pixels a side: half of them are what the AIN needs

}  // namespace

at::Tensor attack_indicator(const at::Tensor& images, Indicator indicator) {
  if (indicator == Indicator::high_band) return high_pass(images.to(at::kFloat)).mul_(5);
  if (indicator == Indicator::bands) {
    const at::Tensor both = at::cat({images, attack_indicator(images, Indicator::high_band)}, 1);
    if (std::min(images.size(2), images.size(3)) < least_to_fold) return both;
    return at::pixel_unshuffle(at::replication_pad2d(both, {0, both.size(3) % 2, 0, both.size(2) % 2}), 2);
  }
  // Exact for pixels stored as v / 255: in float32, 255 (v / 255) = v for every v in 0 .. 255.
  const at::Tensor pixels = images.to(at::kFloat).mul(255).floor_();
  const at::Tensor spectrum = dct2(pixels.contiguous());
  if (indicator == Indicator::raw) return spectrum;
  return spectrum.sign().mul_(spectrum.abs().log1p_());
}

}  // namespace mcci
