#pragma once

#include <ATen/core/Tensor.h>

namespace mcci {

// How the AIN is shown the spectrum.
enum class Indicator {
  raw,    // the paper: the DCT unscaled, up to 8160 at 32x32
  log,    // sign(d) log(1 + |d|): the many small coefficients weigh as much as the few large ones
  bands,  // both bands back in pixels, the image and its high band as below, every 2x2 pixels as channels:
          // [B,8C,ceil(H/2),ceil(W/2)]; all that is in them, for a quarter of the price. Below 16 pixels as
          // they are: [B,2C,H,W]
  high_band,  // its high frequencies, back in pixels (signal/high_pass.hpp), times 5 so that plain SGD can
              // train on it
};

// The attack indicator S of an image, a proxy of "was it attacked?" (paper, causal graph X -> S): the
// per-channel two-dimensional orthonormal DCT-II of floor(255 x), or its high band. images [B,C,H,W] float32
// in [0,1] -> [B,C,H,W] float32, for `bands` as said there.
at::Tensor attack_indicator(const at::Tensor& images, Indicator indicator);

}  // namespace mcci
