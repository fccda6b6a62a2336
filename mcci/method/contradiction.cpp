#include "mcci/method/contradiction.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace mcci {
namespace {

constexpr double confirming = 0.8;  // share of the keyholes that see what the label says
constexpr double much_better = 1.5;

double agreement(const torch::Tensor& opinions, const torch::Tensor& labels) {
  return opinions.argmax(2).eq(labels).to(torch::kDouble).mean().item<double>();
}

}  // namespace

bool detail_is_needed(const torch::Tensor& coarse, const torch::Tensor& detailed,
                      const torch::Tensor& labels) {
  return agreement(detailed, labels) > much_better * agreement(coarse, labels);
}

bool detail_may_be_needed(const torch::Tensor& coarse, const torch::Tensor& labels) {
  return 1 > much_better * agreement(coarse, labels);
}

double effective_number(const torch::Tensor& counts) {
  const torch::Tensor p = counts.to(torch::kDouble) / counts.sum().clamp_min(1).to(torch::kDouble);
  return std::exp(-(p * p.clamp_min(1e-12).log()).sum().item<double>());
}

Contradiction contradictions(const torch::Tensor& opinions, const torch::Tensor& labels, double confidence) {
  const auto [certainty, seen] = opinions.max(2);
  const torch::Tensor against = seen.ne(labels).logical_and(certainty.gt(confidence));
  Contradiction result;
  result.contradicted = against.any(0);
  const double needed = confirming * static_cast<double>(opinions.size(0)) - 1e-6;
  result.confirmed = seen.eq(labels).sum(0).ge(needed).logical_and(result.contradicted.logical_not());
  // Of a contradicted sample the surest contradiction counts.
  const torch::Tensor surest = certainty.masked_fill(against.logical_not(), 0).argmax(0, /*keepdim=*/true);
  result.meaning =
      torch::where(result.contradicted, seen.gather(0, surest).squeeze(0), opinions.mean(0).argmax(1));
  return result;
}

torch::Tensor meanings_of(const torch::Tensor& meaning, const torch::Tensor& chosen,
                          std::int64_t num_classes) {
  return meaning.masked_select(chosen).bincount({}, num_classes).to(torch::kFloat);
}

}  // namespace mcci
