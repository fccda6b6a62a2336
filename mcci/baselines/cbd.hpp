#pragma once

#include <functional>
#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/state/tensors.hpp"
#include "mcci/train/defense.hpp"

namespace mcci {

// CBD, Causality-inspired Backdoor Defense (Zhang et al., CVPR 2023; docs/defenses/cbd.md): a network trained
// for a few epochs learns the backdoor and little else; the clean one is then trained with weights that
// favour what the first finds hard. Assumes no clean data.
std::unique_ptr<Defense> make_cbd();

// L_b / (L_c + L_b) of each sample, scaled so that the batch's mean is 1. Both losses [B], 0 or more.
at::Tensor cbd_weights(const at::Tensor& biased_losses, const at::Tensor& clean_losses);

// The term of mutual information: how much more a critic gives the pairs of features that belong together,
// [B, 2D], than those of which the second is the next sample's; a scalar. biased, clean [B, D].
at::Tensor cbd_dependence(const std::function<at::Tensor(const at::Tensor& pairs)>& critic,
                          const at::Tensor& biased, const at::Tensor& clean);

// Divides each tensor by its largest singular value, a vector by its norm, found by five steps of the power
// iteration: what bounds the critic's slope.
void normalise_spectra(const TensorList& parameters);

}  // namespace mcci
