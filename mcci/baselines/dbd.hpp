#pragma once

#include <memory>

#include "mcci/train/defense.hpp"

namespace mcci {

// DBD, Decoupling-based Backdoor Defense (Huang et al., ICLR 2022; docs/defenses/dbd.md): features learned
// from images alone, a head on them, then semi-supervised training that trusts the half of the labels with
// the lowest loss. Assumes no clean data.
std::unique_ptr<Defense> make_dbd();

}  // namespace mcci
