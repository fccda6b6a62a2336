#pragma once

#include <cstdint>

#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include "mcci/method/attack_indication_network.hpp"

namespace mcci {

// The AIN of the robust training as two witnesses: two attack indication networks of half the embedding each,
// which learn to tell attacked samples of each label from others by their indicator. Each learns from one
// half of the samples and is heard on the other (cross-fitting), so that what is said of a training sample is
// never remembered, only recognised; of a new image both speak. Children: first, second
// (AttackIndicationNetwork), first_head, second_head.
class WitnessesImpl : public torch::nn::Module {
 public:
  // options.embedding, even, is that of both together. Errors: as AttackIndicationNetworkImpl.
  WitnessesImpl(const AttackIndicationOptions& options, std::int64_t num_classes);

  // indicator [B,C,H,W] float32 -> z_f [B, embedding] of both.
  torch::Tensor forward(const torch::Tensor& indicator);

  // What a witness saw, and what it says.
  struct Testimony {
    torch::Tensor z_f;       // [B, embedding / 2]
    torch::Tensor log_odds;  // [B, classes]: of an attack, if the image bore that label
  };
  // Each image is seen by one witness alone. witness [B] int64, 0 or 1.
  Testimony testimony(const torch::Tensor& indicator, const torch::Tensor& witness);
  // Of both, averaged: [B, classes]. z_f [B, embedding].
  torch::Tensor log_odds(const torch::Tensor& z_f);

 private:
  AttackIndicationNetwork first_{nullptr}, second_{nullptr};
  torch::nn::Linear first_head_{nullptr}, second_head_{nullptr};
};
TORCH_MODULE(Witnesses);

// How much an image that is not accused counts against an attack on each label, by what it means: [C,C]
// float32, rows are meanings. So weighted, those that are not accused mean, for each label, what its accused
// samples mean, so that meaning explains nothing; but a tenth of their weight is of those that mean the
// label. meaning, labels [n] int64 of the accused samples, meaning_of_others [m] int64. No weight is above 5:
// where a class is accused nearly as a whole, few are left to stand for it.
torch::Tensor control_weights(const torch::Tensor& meaning, const torch::Tensor& labels,
                              const torch::Tensor& meaning_of_others, std::int64_t num_classes);

// What is said of images that an attack on a label surely did not touch, since they bear another: for each
// label the evidence that four fifths of them do not exceed, infinite where there are none. said [M,C]
// float32: log odds of an attack if the image bore the label, labels [M] int64 that they bear -> [C] float32.
torch::Tensor usual_evidence(const torch::Tensor& said, const torch::Tensor& labels);

// Which witness learns from each sample: [count] int64, 0 or 1, halves drawn by the seed.
torch::Tensor witness_of(std::int64_t count, std::uint64_t seed);

}  // namespace mcci
