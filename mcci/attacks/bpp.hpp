#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// BppAttack (Wang et al., 2022): a pixel x becomes round(round(x / 255 (L - 1)) / (L - 1) 255), the nearest
// of L grey levels, 0, 36, 73, 109, 146, 182, 219 and 255 for L = 8. With dithering (Floyd and Steinberg) the
// error of a pixel is carried on, row by row, each channel by itself: 7/16 to the right, 3/16, 5/16 and 1/16
// below. Same trigger for train and test.
//
// Negatives are cover samples x + q(z) - z, clipped to 0 .. 255, where q(z) is another image of the training
// set, triggered: they have the residual of a quantisation, but not of their own. z is drawn from the plan's
// seed and the sample's index.
std::unique_ptr<Attack> make_bpp();

}  // namespace mcci
