#include "mcci/method/witnesses.hpp"

#include <ATen/ATen.h>

#include "mcci/data/loader.hpp"

namespace mcci {

WitnessesImpl::WitnessesImpl(const AttackIndicationOptions& options) {
  AttackIndicationOptions half = options;
  half.embedding = options.embedding / 2;
  first_ = register_module("first", AttackIndicationNetwork(half));
  second_ = register_module("second", AttackIndicationNetwork(half));
  first_head_ = register_module("first_head", torch::nn::Linear(half.embedding, 1));
  second_head_ = register_module("second_head", torch::nn::Linear(half.embedding, 1));
}

torch::Tensor WitnessesImpl::forward(const torch::Tensor& indicator) {
  return torch::cat({first_->forward(indicator), second_->forward(indicator)}, 1);
}

torch::Tensor WitnessesImpl::testimony(const torch::Tensor& z_f) {
  const auto halves = z_f.chunk(2, 1);
  return torch::cat({first_head_->forward(halves[0]), second_head_->forward(halves[1])}, 1);
}

torch::Tensor witness_of(std::int64_t count, std::uint64_t seed) {
  return epoch_order(count, seed, 0).remainder(2);
}

torch::Tensor own_testimony(const torch::Tensor& testimony, const torch::Tensor& witness) {
  return testimony.gather(1, witness.unsqueeze(1)).squeeze(1);
}

torch::Tensor held_out_testimony(const torch::Tensor& testimony, const torch::Tensor& witness) {
  return own_testimony(testimony, 1 - witness);
}

}  // namespace mcci
