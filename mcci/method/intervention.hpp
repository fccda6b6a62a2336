#pragma once

#include <cstdint>

#include <torch/types.h>

#include "mcci/data/dataset.hpp"
#include "mcci/method/mind_control_model.hpp"
#include "mcci/runtime/compute.hpp"

namespace mcci {

struct InterventionOptions {
  std::int64_t trials = 10;
  double agreement = 0.9;
  void declare(OptionSet& set);
};

// The interventional test: a trigger is what makes the label follow wherever it goes. Sample i's high-pass
// content is put onto random images of other recorded classes, and the indicator alone (the AIN after its
// head start) is asked whether it now says label i. It is a do-operation on the indicator: an easy image does
// not carry its label along, a trigger does. No clean data, no knowledge of the attack or its target.
//
// Returns for each sample the share of its trials in which the label followed, [N] float32 in [0,1]. A sample
// that can no longer reach the agreement is not tried further; its share is of the trials it had.
torch::Tensor label_follows(MindControlModel model, const DatasetPtr& data, const Compute& compute,
                            const InterventionOptions& options, std::uint64_t seed);

}  // namespace mcci
