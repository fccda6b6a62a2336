#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Targeted universal adversarial perturbation as a trigger (Zhao et al., 2020), clean-label: one perturbation
// of at most `eps` grey levels, added to every image and cut to 0 .. 255. It is learned against a surrogate
// on a share of the set (adversarial.hpp), cut to +-eps after each update, rounded to whole grey levels. Same
// trigger for train and test.
//
// Details are BackdoorBox's, which adds the mere perturbation where the authors, who poison videos, add a
// patch of it. Its eps of 0.031 is 8 grey levels.
std::unique_ptr<Attack> make_tuap();

}  // namespace mcci
