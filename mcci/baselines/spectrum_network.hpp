#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

#include "mcci/data/dataset.hpp"

namespace mcci {

// The network of the frequency detector (Zeng et al., ICCV 2021): six 3x3 convolutions, each followed by ELU
// and batch normalisation, in three stages of width, 2 width and 4 width channels, and one answer.
// Children: layers (Sequential), fc.
class SpectrumNetwork : public torch::nn::Module {
 public:
  // `shape` is that of the spectra. Freshly initialised from the global generator. Errors: usage below 8x8.
  SpectrumNetwork(const ImageShape& shape, std::int64_t width);

  // spectra [B,C,H,W] float32 -> [B]: the log odds of a trigger.
  at::Tensor forward(const at::Tensor& spectra);

 private:
  torch::nn::Sequential layers_{nullptr};
  torch::nn::Linear fc_{nullptr};
};

}  // namespace mcci
