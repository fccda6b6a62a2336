#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// TrojanNN (Liu et al., 2018): a patch in the bottom-right corner, optimised so that neurons of a trained
// network answer to it; it replaces the pixels under a mask. Same trigger for train and test.
//
// The neurons are inputs of the surrogate's last linear layer: those `neurons` whose weights to all classes
// have the largest sum of magnitudes. Pixels under the mask start as uniform noise on the mean image of the
// clean set and descend, by Adam at `lr` for `iterations`, clipped to [0,1], on the sum over the
// neurons of (activation - target-value)^2; the best of all iterations is taken, rounded to whole grey
// levels.
//
//   square   a square of `mask-size` pixels a side
//   round    the disc in that square: pixels whose centre is within it
//
// The mask of the authors and of BackdoorBench, an apple, is not free to ship; `mask-size` 0 is a quarter of
// the shorter side, 6 % of the image (theirs: 7 %). BackdoorBench optimises on a black image and adds the
// trigger to others modulo 256; the authors replace the pixels, as here.
std::unique_ptr<Attack> make_trojannn();

}  // namespace mcci
