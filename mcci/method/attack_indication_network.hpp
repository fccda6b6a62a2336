#pragma once

#include <cstdint>

#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "mcci/data/dataset.hpp"

namespace mcci {

struct AttackIndicationOptions {
  ImageShape input;
  std::int64_t embedding = 100;
  std::int64_t width =
      0;  // channels of the first convolution; 0: the paper's (32 at small sizes, 96 above 64 pixels)
};

// AIN, the attack indication network: shallow, from an attack indicator to an embedding z_f (paper, "The
// paper's model"). Every convolution is followed by ELU, then batch normalisation.
//   up to 64 pixels: 3 x [conv3(w) conv3(w) pool2 dropout], w doubling, dropout .2 .3 .4;
//   larger:          AlexNet's layout: conv11/4, conv5, pool3/2, 2 x conv3, pool3/2, 2 x conv3, pool3/2.
// The last linear layer is sized from the input. Children: features (Sequential), fc.
class AttackIndicationNetworkImpl : public torch::nn::Module {
 public:
  // Errors: usage if the images are too small (below 8 pixels, or 65 to 66 for the larger layout).
  explicit AttackIndicationNetworkImpl(const AttackIndicationOptions& options);

  // [B,C,H,W] float32 -> [B, embedding].
  torch::Tensor forward(const torch::Tensor& indicator);

 private:
  torch::nn::Sequential features_{nullptr};
  torch::nn::Linear fc_{nullptr};
};
TORCH_MODULE(AttackIndicationNetwork);

}  // namespace mcci
