#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/train/defense.hpp"

namespace mcci {

// CBD, Causality-inspired Backdoor Defense (Zhang et al., CVPR 2023; docs/defenses/cbd.md): a network trained
// for a few epochs learns the backdoor and little else; the clean one is then trained with weights that
// favour what the first finds hard. Assumes no clean data.
std::unique_ptr<Defense> make_cbd();

// L_b / (L_c + L_b) of each sample, scaled so that the batch's mean is 1. Both losses [B], 0 or more.
at::Tensor cbd_weights(const at::Tensor& biased_losses, const at::Tensor& clean_losses);

}  // namespace mcci
