#include "mcci/method/contradiction.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace mcci {
namespace {

constexpr double confirming = 0.8;    // share of the keyholes that see what the label says
constexpr double sure = 2;            // log odds from which on a witness is sure
constexpr double least = 10;          // samples
constexpr double outlier_factor = 6;  // times the median of the labels
constexpr double least_spread = 3;    // effective number of meanings under one label

// exp(entropy) of the counts.
double effective_number(const torch::Tensor& counts) {
  const torch::Tensor p = counts.to(torch::kDouble) / counts.sum().clamp_min(1).to(torch::kDouble);
  return std::exp(-(p * p.clamp_min(1e-12).log()).sum().item<double>());
}

}  // namespace

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

Marks marks(const Contradiction& contradiction, const torch::Tensor& labels, std::int64_t num_classes,
            const torch::Tensor& evidence, double share) {
  const torch::Tensor bears = contradiction.contradicted.logical_and(evidence.gt(sure));
  Marks result;
  result.marked = torch::zeros_like(bears);
  const torch::Tensor counts =
      labels.masked_select(contradiction.contradicted).bincount({}, num_classes).to(torch::kDouble);
  const double usual = outlier_factor * counts.median().item<double>() + least;
  const double spread = std::min(least_spread, static_cast<double>(num_classes - 1) / 2);
  for (std::int64_t label = 0; label < num_classes; ++label) {
    const double count = counts[label].item<double>();
    const torch::Tensor contradicted = contradiction.contradicted.logical_and(labels.eq(label));
    const torch::Tensor marked = bears.logical_and(contradicted);
    if (marked.sum().item<double>() >= std::max(least, share * count)) {
      result.marked.logical_or_(marked);
    } else if (count >= usual &&
               effective_number(contradiction.meaning.masked_select(contradicted).bincount()) >= spread) {
      result.marked.logical_or_(contradicted);
    } else {
      continue;
    }
    result.attacked_labels.push_back(label);
  }
  return result;
}

}  // namespace mcci
