#pragma once

#include <cstdint>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

namespace mcci {

// What torch::nn::Dropout does, from a quarter of the random numbers: LibTorch's draws one for each value, on
// one thread, which was a twentieth of a whole training step.
class DropoutImpl : public torch::nn::Module {
 public:
  // Zeroes each value with probability `rate`, in [0, 1), to 1/65536, and divides the others by what is kept.
  explicit DropoutImpl(double rate);

  // x floating point, of any shape and layout, which are kept. From own_generator() (side_by_side.hpp); x
  // itself in evaluation mode.
  torch::Tensor forward(const torch::Tensor& x);

 private:
  std::int64_t dropped_;  // of 65536
};
TORCH_MODULE(Dropout);

}  // namespace mcci
