#pragma once

#include <memory>

#include "mcci/method/mind_control_model.hpp"

namespace mcci {

// With the fake indicator z_f* fixed, W1 z + b + W2 z_f* is linear in z, and z = V h + c is linear in the
// backbone's features h. So the deployed model is the backbone itself with the C-way head  W1 V h + (W1 c + b
// + W2 z_f*): the AIN costs nothing at inference and the weights are a standard file. Computed in double.
// Requires that the model's clean_indicator is set. The result is in evaluation mode, on the CPU.
std::shared_ptr<Backbone> fold(MindControlModel model);

}  // namespace mcci
