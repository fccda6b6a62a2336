#pragma once

#include <memory>

#include "mcci/train/defense.hpp"

namespace mcci {

// Isolation by loss as a filter (docs/defenses/loss-isolation.md): ABL's first half, after which the isolated
// samples are left out of plain training. Assumes no clean data.
std::unique_ptr<Defense> make_loss_isolation();

}  // namespace mcci
