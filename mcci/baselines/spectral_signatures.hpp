#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/train/defense.hpp"

namespace mcci {

// Spectral Signatures (Tran, Li, Madry, NeurIPS 2018; docs/defenses/spectral-signatures.md): within a class,
// leave out what lies farthest along the direction in which its features vary most. Assumes no clean data,
// and a bound on the share of poison in a class.
std::unique_ptr<Defense> make_spectral_signatures();

// The squared coordinate of each row of `features` [n, D] along the first principal direction: [n] float32.
at::Tensor spectral_scores(const at::Tensor& features);

}  // namespace mcci
