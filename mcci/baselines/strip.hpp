#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/train/defense.hpp"

namespace mcci {

// STRIP on the training set (Gao et al., ACSAC 2019; docs/defenses/strip.md): what a trained network is sure
// of whatever image is laid over it carries a trigger, and is left out. Assumes clean images, without labels.
std::unique_ptr<Defense> make_strip();

// One image laid over another, as the authors' program does: the sum, at most 1. Both [B,C,H,W] in [0,1].
at::Tensor superimposed(const at::Tensor& images, const at::Tensor& overlays);

}  // namespace mcci
