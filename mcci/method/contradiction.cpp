#include "mcci/method/contradiction.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace mcci {
namespace {

constexpr double outlier_factor = 8;      // times the median count of a label
constexpr double outlier_share = 0.0005;  // of the set, beyond that
constexpr double outlier_least = 10;      // samples, beyond that
constexpr double least_spread = 3;        // effective number of meanings under one label

// exp(entropy) of the counts.
double effective_number(const torch::Tensor& counts) {
  const torch::Tensor p = counts.to(torch::kDouble) / counts.sum().clamp_min(1).to(torch::kDouble);
  return std::exp(-(p * p.clamp_min(1e-12).log()).sum().item<double>());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

Contradiction contradictions(const torch::Tensor& opinions, const torch::Tensor& labels, double confidence) {
  const std::int64_t classes = opinions.size(2);
  const auto n = static_cast<double>(labels.size(0));
  const double spread = std::min(least_spread, static_cast<double>(classes - 1) / 2);
  Contradiction result;
  result.contradicted = torch::zeros_like(labels, torch::kBool);
  for (const torch::Tensor& opinion : opinions.unbind(0)) {
    const auto [certainty, meaning] = opinion.max(1);
    const torch::Tensor against = meaning.ne(labels).logical_and(certainty.gt(confidence));
    std::vector<torch::Tensor> of_class;
    std::vector<double> counts;
    for (std::int64_t c = 0; c < classes; ++c) {
      of_class.push_back(against.logical_and(labels.eq(c)));
      counts.push_back(of_class.back().sum().item<double>());
    }
    const double usual = outlier_factor * median(counts) + outlier_share * n + outlier_least;
    for (std::int64_t c = 0; c < classes; ++c) {
      const torch::Tensor& members = of_class[static_cast<std::size_t>(c)];
      if (counts[static_cast<std::size_t>(c)] < usual) continue;
      if (effective_number(meaning.masked_select(members).bincount({}, classes)) < spread) continue;
      result.contradicted.logical_or_(members);
      result.attacked_labels.push_back(c);
    }
  }
  std::sort(result.attacked_labels.begin(), result.attacked_labels.end());
  result.attacked_labels.erase(std::unique(result.attacked_labels.begin(), result.attacked_labels.end()),
                               result.attacked_labels.end());
  const torch::Tensor together = opinions.mean(0);
  result.meaning = together.argmax(1);
  result.confirmed = result.meaning.eq(labels).logical_and(result.contradicted.logical_not());
  return result;
}

}  // namespace mcci
