#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// FTrojan (Wang et al., 2022): 30 is added to the coefficients (15,15) and (31,31) of the DCT of every 32x32
// window of both chroma channels (YCbCr); see SpectralTrigger. The window is min(window, H, W) square, and
// only whole windows carry the trigger. Same trigger for train and test.
std::unique_ptr<Attack> make_ftrojan();

}  // namespace mcci
