#pragma once

#include <memory>

#include "mcci/train/defense.hpp"

namespace mcci {

// NAB, Non-Adversarial Backdoor (Liu et al., ICCV 2023; docs/defenses/nab.md): isolated samples are
// relabelled and, where that changes the label, stamped; at inference every image is stamped, and the stamp
// means "look again". The new labels are those of a network that learned from clean images (label
// verification; assumes these, with labels), or of the nearest centres of features learned without labels
// (assumes no clean data). The deployed model stamps first, so that it cannot be folded into a plain
// backbone.
std::unique_ptr<Defense> make_nab();

}  // namespace mcci
