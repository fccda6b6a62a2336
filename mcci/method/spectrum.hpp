#pragma once

#include <ATen/core/Tensor.h>

namespace mcci {

enum class SpectrumScale {
  raw,  // the paper: unscaled, up to 8160 at 32x32
  log,  // sign(d) log(1 + |d|): the spectrum's many small coefficients, where a patch shows, weigh as much as its few
        // large ones, and plain SGD can train on it
};

// The attack indicator S of an image, a proxy of "was it attacked?" (paper, causal graph X -> S): the per-channel
// two-dimensional orthonormal DCT-II of floor(255 x).
// images [B,C,H,W] float32 in [0,1] -> [B,C,H,W] float32.
at::Tensor attack_indicator(const at::Tensor& images, SpectrumScale scale);

}  // namespace mcci
