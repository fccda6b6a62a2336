#include "mcci/method/spectrum.hpp"

#include <ATen/ATen.h>

#include "mcci/signal/dct.hpp"

namespace mcci {

at::Tensor attack_indicator(const at::Tensor& images, SpectrumScale scale) {
  // Exact for pixels stored as v / 255: in float32, 255 (v / 255) = v for every v in 0 .. 255.
  const at::Tensor pixels = images.to(at::kFloat).mul(255).floor_();
  const at::Tensor spectrum = dct2(pixels.contiguous());
  if (scale == SpectrumScale::raw) return spectrum;
  return spectrum.sign().mul_(spectrum.abs().log1p_());
}

}  // namespace mcci
