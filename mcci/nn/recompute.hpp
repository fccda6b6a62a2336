#pragma once

#include <functional>

#include <torch/types.h>

namespace mcci {

// forward(x), keeping x alone for the gradient: the rest is computed again on the way back, under the same
// autocast, and the gradients of whatever parameters `forward` uses are added to theirs as by backward().
// For a forward that draws no random numbers and changes nothing.
torch::Tensor recomputed(std::function<torch::Tensor(const torch::Tensor&)> forward, const torch::Tensor& x);

}  // namespace mcci
