#pragma once

#include <cstdint>
#include <memory>

#include "mcci/core/options.hpp"
#include "mcci/core/registry.hpp"
#include "mcci/train/defense.hpp"

namespace mcci {

// What both ways of training have in common.
struct AinOptions {
  std::int64_t ain_width = 0;
  std::int64_t embedding = 100;
  void declare(OptionSet& set);
};

// MCCI, Mind Control through Causal Inference (Hu et al., ICLR 2025; docs/method.md): a deep network, the
// SFRN, sees the image, a shallow one, the AIN, its attack indicator; at inference a fake non-attack
// indicator is presented whatever the image is.
//
//   preset robust: the AIN learns from what contradicts the labels, and the SFRN conditioned on what the AIN
//   says
//                  (robust.hpp);
//   preset paper:  both trained together from the first step, as published (joint.hpp).
std::unique_ptr<Defense> make_mcci();

// The presets of both.
const Registry<Json>& mcci_presets();

}  // namespace mcci
