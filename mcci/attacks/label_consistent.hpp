#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Label-consistent backdoor (Turner, Tsipras, Madry, 2019), clean-label. In training an image of the target
// class is first made hard to recognise, so that the trigger is what is left to learn from: projected
// gradient descent against a surrogate, `steps` of `alpha` within an L-inf ball of `eps` grey levels, without
// a random start, rounded to whole grey levels. Then, and at test time alone, the trigger: in each corner a
// 3x3 pattern whose white pixels gain `amplitude` and whose black ones lose it, cut to 0 .. 255; at 255 that
// replaces them.
//
//   left corners      right corners
//     # . .             . . #
//     . # .             . # .
//     # . #             # . #
//
// The side of a pattern is 3 min(H,W) / 32 rounded, at least 1, scaled by nearest neighbour. The surrogate is
// a trained one; the authors of MCCI load a network that was never trained, which is not repeated.
//
// prepare() crafts the samples of the plan, which are cached; evaluation needs none of them. apply() in
// training takes the samples that the plan poisons and no others. Errors: internal for others.
std::unique_ptr<Attack> make_label_consistent();

}  // namespace mcci
