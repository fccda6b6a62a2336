#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Low-frequency trigger (Zeng et al., 2021): one smooth pattern of 0 .. 51 grey levels (0.2 x 255) that is
// added to every image and cut to 0 .. 255. Same trigger for train and test.
//
// The pattern is learned: a universal perturbation towards the target class (adversarial.hpp) of a surrogate,
// on `images` images of other classes. Its DCT coefficients (u,v) of each channel are zero unless
// u < cutoff H and v < cutoff W: DeepFool moves within that subspace. After each update the pattern is
// shifted and scaled so that its smallest value is 0 and its largest `amplitude`, which leaves the subspace
// intact.
//
// Where the generator of BackdoorBench smooths each perturbation and each sum by a Gaussian of 6 pixels,
// which passes at 32x32 little but the lowest two or three frequencies, this one projects; and it ends by the
// share of images taken for the target, not for any other class than before.
std::unique_ptr<Attack> make_lf();

}  // namespace mcci
