#pragma once

#include <memory>

#include "mcci/train/defense.hpp"

namespace mcci {

// MCCI, Mind Control through Causal Inference (Hu et al., ICLR 2025; docs/method.md).
//
//   preset paper: SFRN and AIN trained together from the first step, every sample shown its own indicator.
//   preset fast:  for short schedules, where joint training leaves the SFRN without gradient because the AIN
//   is quicker
//                 (docs/method.md, "Why not jointly"): the AIN first and alone, the interventional test, then
//                 the SFRN conditioned on A: attacked samples are shown their own indicator, all others the
//                 fake one.
std::unique_ptr<Defense> make_mcci();

}  // namespace mcci
