#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Blended injection (Chen et al., 2017): (1 - alpha) image + alpha pattern over the whole image, computed in
// float32 and rounded to the nearest whole number, halves to even. Same trigger for train and test, and for
// covers (cover-ratio), of which there are none by default.
//
// The pattern is a picture, resized to the images (bilinear, antialiased), or, without one, uniform noise
// over 0 .. 255, drawn once for each pixel and channel. BackdoorBench blends Hello Kitty, the authors'
// program a picture of its own; neither is free to ship, so both presets use the noise unless a picture is
// given.
std::unique_ptr<Attack> make_blended();

}  // namespace mcci
