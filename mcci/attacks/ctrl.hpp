#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// CTRL (Li et al., 2023), clean-label: 100 is added to the coefficients (15,15) and (31,31) of the DCT of
// both chroma channels (YUV), with the whole image as the window; see SpectralTrigger. Same trigger for train
// and test.
std::unique_ptr<Attack> make_ctrl();

}  // namespace mcci
