#pragma once

#include <memory>

#include "mcci/train/defense.hpp"

namespace mcci {

// NAB, Non-Adversarial Backdoor (Liu et al., ICCV 2023; docs/defenses/nab.md): isolated samples are
// relabelled by a network that learned from clean images (label verification) and, where that changes the
// label, stamped; at inference every image is stamped, and the stamp means "look again". Assumes clean images
// with labels. The deployed model stamps first, so that it cannot be folded into a plain backbone.
std::unique_ptr<Defense> make_nab();

}  // namespace mcci
