#pragma once

#include <memory>

#include "mcci/train/defense.hpp"

namespace mcci {

// ABL, Anti-Backdoor Learning (Li et al., NeurIPS 2021; docs/defenses/abl.md): isolate the samples that are
// learned first, train on the others, unlearn the isolated ones by gradient ascent. Assumes no clean data.
std::unique_ptr<Defense> make_abl();

}  // namespace mcci
