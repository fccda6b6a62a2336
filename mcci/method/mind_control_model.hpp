#pragma once

#include <cstdint>
#include <memory>

#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "mcci/method/attack_indication_network.hpp"
#include "mcci/method/spectrum.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/runtime/compute.hpp"

namespace mcci {

struct MindControlOptions {
  BackboneConfig backbone;  // outputs is set to `embedding`
  ImageShape shape;
  std::int64_t num_classes = 10;
  std::int64_t embedding = 100;
  std::int64_t ain_width = 0;  // see AttackIndicationOptions::width
  Indicator indicator = Indicator::raw;
};

// P(Y | X, A): the SFRN sees the image, the AIN its indicator, one linear layer sees both (paper, pipeline
// figure).
//
// The linear layer on [z ; z_f] is written as the sum of its two halves, W1 z + b and W2 z_f, because that is
// what it is: a product of two experts, one of which becomes a constant once z_f is fixed. Children: sfrn,
// ain, semantic_head (W1, b), indicator_head (W2). Buffers: clean_indicator and attacked_indicator, the two
// embeddings z_f* that stand for "not attacked" and "attacked" at inference; zero until they are set.
class MindControlModelImpl : public torch::nn::Module {
 public:
  MindControlModelImpl(const MindControlOptions& options, const Compute& compute);

  // images [B,C,H,W] float32 in [0,1] on the device.
  torch::Tensor semantic_embedding(const torch::Tensor& images);  // z [B, embedding] float32
  torch::Tensor spectrum(const torch::Tensor& images) const;      // the attack indicator, as the AIN takes it
  torch::Tensor indicator_embedding(const torch::Tensor& spectrum);  // z_f [B, embedding] float32

  // z [B, embedding] -> W1 z + b; z_f [B, embedding] or [embedding] -> W2 z_f. Their sum is the model's
  // logits.
  torch::Tensor semantic_logits(const torch::Tensor& z);
  torch::Tensor indicator_logits(const torch::Tensor& z_f);

  const MindControlOptions& options() const noexcept { return options_; }

  std::shared_ptr<Backbone> sfrn;
  AttackIndicationNetwork ain{nullptr};
  torch::nn::Linear semantic_head{nullptr};
  torch::nn::Linear indicator_head{nullptr};
  torch::Tensor clean_indicator;     // [embedding]
  torch::Tensor attacked_indicator;  // [embedding]

 private:
  MindControlOptions options_;
  Compute compute_;
};
TORCH_MODULE(MindControlModel);

}  // namespace mcci
