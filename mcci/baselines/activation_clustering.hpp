#pragma once

#include <memory>

#include "mcci/train/defense.hpp"

namespace mcci {

// Activation Clustering (Chen et al., SafeAI 2019; docs/defenses/activation-clustering.md): the features of
// each class are split into two clusters; where these are well apart, the smaller one is left out. Assumes no
// clean data, and that less than half of a class is poisoned.
std::unique_ptr<Defense> make_activation_clustering();

}  // namespace mcci
