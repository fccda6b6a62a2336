#include "mcci/method/contradiction.hpp"

#include <algorithm>

#include <ATen/ATen.h>

namespace mcci {
namespace {

constexpr double confirming = 0.8;  // share of the keyholes that see what the label says
constexpr double sure = 2;          // log odds from which on a witness is sure
constexpr double least_marked = 10;

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

Marks marks(const Contradiction& contradiction, const torch::Tensor& labels, const torch::Tensor& evidence,
            double share) {
  const torch::Tensor bears = contradiction.contradicted.logical_and(evidence.gt(sure));
  Marks result;
  result.marked = torch::zeros_like(bears);
  const std::int64_t classes = labels.numel() == 0 ? 0 : labels.max().item<std::int64_t>() + 1;
  for (std::int64_t label = 0; label < classes; ++label) {
    const torch::Tensor of_label = labels.eq(label);
    const torch::Tensor marked = bears.logical_and(of_label);
    const double count = marked.sum().item<double>();
    const double contradicted = contradiction.contradicted.logical_and(of_label).sum().item<double>();
    if (count < std::max(least_marked, share * contradicted)) continue;
    result.attacked_labels.push_back(label);
    result.marked.logical_or_(marked);
  }
  return result;
}

}  // namespace mcci
