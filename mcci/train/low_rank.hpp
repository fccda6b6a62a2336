#pragma once

#include <cstdint>
#include <vector>

#include "mcci/state/tensors.hpp"

namespace mcci {

// Low-rank adaptation (Hu et al., ICLR 2022): a weight W [O,...] stays what it was but for a product of two
// small matrices, W = W0 + (alpha / rank) B A, with A [rank, I] and B [O, rank], where I is the number of
// elements of W[0]. Only A and B are trained.
//
// The network's own W holds the sum at any time. So whatever reads the network - its forward pass, an
// evaluation, folding, a checkpoint, an export - sees plain weights of the usual shape, and there is nothing
// to merge. The price is the gradient of W, from which those of A and B follow.
class LowRank {
 public:
  // Takes over `weights`, whose present values are W0. A is drawn from `seed`, uniformly as a new linear
  // layer is; B is zero, so that nothing has changed yet.
  LowRank(const TensorList& weights, std::int64_t rank, double alpha, std::uint64_t seed);

  // Whether a weight is worth a pair: A and B together are smaller than it is.
  static bool suits(const at::Tensor& weight, std::int64_t rank);

  // `parameters` as an optimizer is to see them: "NAME.lora_a" and "NAME.lora_b" for each weight NAME that is
  // adapted, the others as they are.
  TensorList optimised(const TensorList& parameters) const;
  // The same for one value per parameter; what is empty stays so.
  std::vector<double> optimised(const TensorList& parameters, const std::vector<double>& values) const;

  void take_gradients();  // before each step: of A and B, from that of W, which is then gone
  void apply();           // after each step: W from A and B
  // Named tensors that share storage with this object: W0, A and B. Copying into them restores it.
  const TensorList& state() const noexcept { return state_; }

 private:
  struct Pair {
    at::Tensor weight;  // the network's own
    at::Tensor base;    // W0
    at::Tensor a, b;
  };
  const Pair* find(const at::Tensor& parameter) const;

  double scale_;
  std::vector<Pair> pairs_;
  TensorList state_;
};

}  // namespace mcci
