#pragma once

#include <cstdint>

#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "mcci/method/attack_indication_network.hpp"

namespace mcci {

// The AIN of the robust training as two witnesses: two attack indication networks of half the embedding each,
// which learn to tell attacked samples from others by their indicator. Each learns from one half of the
// samples and is heard on the other (cross-fitting), so that what is said of a training sample is never
// remembered, only recognised; of a new image both speak. Children: first, second (AttackIndicationNetwork),
// first_head, second_head.
class WitnessesImpl : public torch::nn::Module {
 public:
  // options.embedding, even, is that of both together. Errors: as AttackIndicationNetworkImpl.
  explicit WitnessesImpl(const AttackIndicationOptions& options);

  // indicator [B,C,H,W] float32 -> z_f [B, embedding].
  torch::Tensor forward(const torch::Tensor& indicator);
  // z_f [B, embedding] -> what each witness says: log odds of an attack, [B,2], as learned from as many
  // attacked samples as others.
  torch::Tensor testimony(const torch::Tensor& z_f);

 private:
  AttackIndicationNetwork first_{nullptr}, second_{nullptr};
  torch::nn::Linear first_head_{nullptr}, second_head_{nullptr};
};
TORCH_MODULE(Witnesses);

// Which witness learns from each sample: [count] int64, 0 or 1, halves drawn by the seed.
torch::Tensor witness_of(std::int64_t count, std::uint64_t seed);

// testimony [B,2], witness [B] -> [B]: of the witness that learned from the sample, or of the other one.
torch::Tensor own_testimony(const torch::Tensor& testimony, const torch::Tensor& witness);
torch::Tensor held_out_testimony(const torch::Tensor& testimony, const torch::Tensor& witness);

}  // namespace mcci
