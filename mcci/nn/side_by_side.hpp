#pragma once

#include <functional>
#include <vector>

#include <ATen/core/Generator.h>
#include <torch/types.h>

namespace mcci {

// What each of these networks answers, [k] tensors: on a CPU each of them as a whole on a thread of its own,
// forwards and backwards. Small networks, which share no parameters, so make better use of several cores than
// by dividing each of their operations; on another device they take their turns. Gradients reach their
// parameters as by backward(), but none of what they are given. The same bits on any number of threads. A
// network may draw random numbers from own_generator() alone.
std::vector<torch::Tensor> side_by_side(const torch::Device& device,
                                        const std::vector<std::function<torch::Tensor()>>& networks);

// Where networks run side by side, the generator of the one that asks, seeded by the global one whenever it
// is asked for an answer in training; else none, which stands for the global one.
c10::optional<at::Generator> own_generator();

}  // namespace mcci
