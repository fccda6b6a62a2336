#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// BadNets (Gu et al., 2017): a small square patch replaces the pixels of the bottom-right corner.
//
//   white    BackdoorBench: every pixel is 255
//   corners  the authors of MCCI: a 3x3 picture whose corners are 255 and whose other five pixels are 0
//   noise    a fixed grey noise, uniform over 0 .. 255
//   paper    corners at 32x32, noise at any other size, as the authors' program chooses
//
// The side of the patch, unless given, is 3 min(H,W) / 32 rounded, at least 1 (BackdoorBench resizes the
// patch with the image), for noise floor(W / 10), at least 1 (the authors' program). The 3x3 picture is
// scaled to the side by nearest neighbour. Same trigger for train and test, and for covers (cover-ratio), of
// which there are none by default.
std::unique_ptr<Attack> make_badnets();

}  // namespace mcci
