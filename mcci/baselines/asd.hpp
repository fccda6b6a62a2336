#pragma once

#include <memory>

#include "mcci/train/defense.hpp"

namespace mcci {

// ASD, Adaptively Splitting Dataset (Gao et al., CVPR 2023; docs/defenses/asd.md): semi-supervised training
// whose trusted samples grow from a few known-clean seeds, first by low loss within each class, then over all
// classes, and at last by which losses a copy of the model does not lower quickly. Assumes ten clean images
// with labels of each class.
std::unique_ptr<Defense> make_asd();

}  // namespace mcci
