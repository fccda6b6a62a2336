#pragma once

#include "mcci/core/json.hpp"
#include "mcci/core/registry.hpp"

namespace mcci {

// Values for TrainOptions by option name, the same for every defense, so that a comparison under one recipe
// differs in the defense alone.
//   paper: Adadelta, 100 epochs, horizontal flips, no normalisation (the paper's section on experiments)
//   fast:  SGD with Nesterov momentum on a one-cycle schedule, for results within minutes
const Registry<Json>& recipes();

}  // namespace mcci
