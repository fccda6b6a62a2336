#pragma once

#include <memory>

#include "mcci/method/mcci.hpp"

namespace mcci {

// The paper's training (Hu et al., ICLR 2025): SFRN and AIN together from the first step, every sample shown
// its own indicator, and the fake non-attack indicator at inference. `ain` must outlive the defense.
std::unique_ptr<Defense> make_joint_mcci(const AinOptions& ain);

}  // namespace mcci
