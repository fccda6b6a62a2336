#pragma once

#include <memory>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "mcci/method/glimpses.hpp"
#include "mcci/method/keyholes.hpp"
#include "mcci/method/mcci.hpp"
#include "mcci/method/witnesses.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/train/defense.hpp"

namespace mcci {

constexpr double evidence_limit = 6;  // of the AIN alone, in nats: it is sure of more than it can know

// What robust training (robust.hpp) trains: SFRN, keyholes, glimpses and AIN; and what it finds out about the
// attack. Images are [B,channels,H,W] float32 in [0,1] on the compute's device; answers are float32.
class RobustModelImpl : public torch::nn::Module {
 public:
  RobustModelImpl(const Problem& problem, const AinOptions& options);

  torch::Tensor semantic_logits(const torch::Tensor& images);      // of the SFRN: [B,C]
  torch::Tensor glimpse_logits(const torch::Tensor& images);       // of a window at random: [B,C]
  torch::Tensor indicator_embedding(const torch::Tensor& images);  // z_f of both witnesses: [B,embedding]
  // Of one witness for each image, [B] int64: its z_f and its log odds of an attack, without a limit.
  Witnesses::Impl::Testimony testimony(const torch::Tensor& images, const torch::Tensor& witness);
  // Log odds of an attack, if the images bore that label: [B,C]; both witnesses speak.
  torch::Tensor evidence(const torch::Tensor& images);

  std::shared_ptr<Backbone> sfrn;
  Keyholes keyholes{nullptr};
  Glimpses glimpses{nullptr};
  Witnesses ain{nullptr};
  torch::Tensor transition;          // [C,C]: T
  torch::Tensor attacked;            // [C]: 1 for a label that is attacked
  torch::Tensor clean_indicator;     // [embedding]: mean z_f of what bears no mark
  torch::Tensor attacked_indicator;  // [embedding]: and of what does

 private:
  torch::Tensor indicator(const torch::Tensor& images) const;

  Compute compute_;
};
TORCH_MODULE(RobustModel);

}  // namespace mcci
