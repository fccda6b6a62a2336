#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Adaptive-Blend (Qi, Xie, Li, Mahloujifar, Mittal: Revisiting the Assumption of Latent Separability for
// Backdoor Defenses, ICLR 2023), with the parameters of the authors' Backdoor Toolbox.
//
// The image is cut into a grid of `pieces` (4 x 4). In training a pattern is blended in with a small alpha,
// except in `masked` of the pieces (half of them), which each sample draws anew; test images get the pattern
// everywhere, with a larger alpha. Cover samples are triggered as in training and keep their labels. Each
// piece is blended as in `blended`, with the same choice of pattern.
std::unique_ptr<Attack> make_adaptive_blend();

}  // namespace mcci
