#pragma once

#include <torch/nn/modules/conv.h>
#include <torch/types.h>

namespace mcci {

// convolution(x), x [B,C,H,W]. If the convolution is depthwise - a filter for each channel - its gradient by
// filters larger than 3x3 is put together from pieces of 3x3 on the CPU, where LibTorch 1.13 has no fast
// kernel for larger ones: they took most of an EfficientNet's training step.
torch::Tensor convolve(torch::nn::Conv2d& convolution, const torch::Tensor& x);

}  // namespace mcci
