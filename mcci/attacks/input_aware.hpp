#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Input-aware dynamic attack (Nguyen and Tran, 2020): x + (G(x) - x) M(x), where a generator G makes a
// pattern [C,H,W] and another, M, a sparse mask [1,H,W] from the image itself. Rounded to whole grey levels.
// Same trigger for train and test.
//
// M is trained first, for a mean excess over `mask-density` near zero and masks that differ like their images
// do; then G jointly with a classifier of the attacker's, in whose batches a share of the images is triggered
// and relabelled and as many get another image's trigger and keep their label (cross triggers), plus the
// diversity of the patterns. Cover samples of the poisoned set are such cross triggers too, cross-ratio for
// each poisoned one: the other image is drawn from the plan's seed and the sample's index.
//
// The artifacts, input-aware.safetensors, hold two networks UNet (generator.hpp), mask.* and pattern.*; see
// input_aware_mask and input_aware_pattern.
std::unique_ptr<Attack> make_input_aware();

// What the attack makes of the networks' outputs of any range: a mask and a pattern in [0,1].
at::Tensor input_aware_mask(const at::Tensor& output);
at::Tensor input_aware_pattern(const at::Tensor& output);

}  // namespace mcci
