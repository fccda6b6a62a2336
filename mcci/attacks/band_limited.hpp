#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Noise of a band of frequencies, of this project's own: one fixed pattern that is added to every image and
// cut to 0 .. 255. Of each channel's orthonormal DCT, the coefficients (u,v) with low <= max(u / H, v / W) <
// high are drawn from a normal distribution, all others are zero; the pattern is scaled so that its largest
// value is `amplitude` grey levels in either direction, then rounded, which leaves less than half a grey
// level outside the band. Same trigger for train and test.
std::unique_ptr<Attack> make_band_limited();

}  // namespace mcci
