#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/core/random.hpp"
#include "mcci/train/defense.hpp"

namespace mcci {

// The frequency detector (Zeng et al., ICCV 2021; docs/defenses/frequency.md): a small network learns to tell
// the spectra of clean images from those of the same images with made-up triggers; what it takes for
// triggered is left out. Assumes clean images, without labels, and triggers that resemble the made-up ones.
std::unique_ptr<Defense> make_frequency();

// Images [B,C,H,W] float32 in [0,1], each with one of the authors' five made-up triggers: a white or a random
// block in a corner, noise, a shadow, or another of the images blended in. The input is not changed.
at::Tensor with_synthetic_triggers(const at::Tensor& images, Rng& rng);

}  // namespace mcci
