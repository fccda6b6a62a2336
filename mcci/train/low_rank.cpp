#include "mcci/train/low_rank.hpp"

#include <cmath>

#include <ATen/ATen.h>
#include <torch/types.h>

#include "mcci/core/random.hpp"

namespace mcci {

LowRank::LowRank(const TensorList& weights, std::int64_t rank, double alpha, std::uint64_t seed)
    : scale_(alpha / static_cast<double>(rank)) {
  const at::NoGradGuard no_grad;
  torch::manual_seed(derive_seed(seed, "low rank"));
  for (const auto& [name, weight] : weights) {
    const std::int64_t inputs = weight.numel() / weight.size(0);
    // Drawn on the CPU, so that the device changes nothing.
    const double bound = 1 / std::sqrt(static_cast<double>(inputs));
    Pair pair;
    pair.weight = weight;
    pair.weight.mutable_grad().reset();  // of an earlier phase
    pair.base = weight.detach().clone();
    pair.a = at::empty({rank, inputs}).uniform_(-bound, bound).to(weight.device());
    pair.b = at::zeros({weight.size(0), rank}, weight.device());
    state_.emplace_back(name + ".base", pair.base);
    state_.emplace_back(name + ".lora_a", pair.a);
    state_.emplace_back(name + ".lora_b", pair.b);
    pairs_.push_back(std::move(pair));
  }
}

bool LowRank::suits(const at::Tensor& weight, std::int64_t rank) {
  if (weight.dim() < 2 || weight.numel() == 0) return false;
  const std::int64_t outputs = weight.size(0);
  return rank * (outputs + weight.numel() / outputs) < weight.numel();
}

const LowRank::Pair* LowRank::find(const at::Tensor& parameter) const {
  for (const Pair& pair : pairs_) {
    if (pair.weight.is_same(parameter)) return &pair;
  }
  return nullptr;
}

TensorList LowRank::optimised(const TensorList& parameters) const {
  TensorList result;
  for (const auto& [name, parameter] : parameters) {
    if (const Pair* pair = find(parameter)) {
      result.emplace_back(name + ".lora_a", pair->a);
      result.emplace_back(name + ".lora_b", pair->b);
    } else {
      result.emplace_back(name, parameter);
    }
  }
  return result;
}

std::vector<double> LowRank::optimised(const TensorList& parameters,
                                       const std::vector<double>& values) const {
  std::vector<double> result;
  for (std::size_t i = 0; i < values.size(); ++i)
    result.insert(result.end(), find(parameters[i].second) == nullptr ? 1 : 2, values[i]);
  return result;
}

// With G the gradient of W: s B^T G of A, s G A^T of B.
void LowRank::take_gradients() {
  const at::NoGradGuard no_grad;
  for (Pair& pair : pairs_) {
    at::Tensor& gradient = pair.weight.mutable_grad();
    if (!gradient.defined()) continue;
    const at::Tensor flat = gradient.flatten(1);
    pair.a.mutable_grad() = pair.b.t().mm(flat) * scale_;
    pair.b.mutable_grad() = flat.mm(pair.a.t()) * scale_;
    gradient.reset();
  }
}

void LowRank::apply() {
  const at::NoGradGuard no_grad;
  for (Pair& pair : pairs_) pair.weight.copy_(pair.base + (pair.b.mm(pair.a) * scale_).view_as(pair.base));
}

}  // namespace mcci
