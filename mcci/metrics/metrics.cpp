#include "mcci/metrics/metrics.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <utility>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"

namespace mcci {

namespace {

constexpr double not_defined = std::numeric_limits<double>::quiet_NaN();

double share(std::int64_t hits, std::int64_t total) {
  return total == 0 ? not_defined : static_cast<double>(hits) / static_cast<double>(total);
}

void require_vectors(const char* metric, std::initializer_list<at::Tensor> tensors) {
  const auto size = tensors.begin()->numel();
  for (const at::Tensor& tensor : tensors) {
    if (tensor.dim() != 1 || tensor.numel() != size) {
      throw Error(ErrorKind::internal, "the arguments must be vectors of one length", metric);
    }
  }
}

std::int64_t count_true(const at::Tensor& mask) { return at::count_nonzero(mask).item<std::int64_t>(); }

Rate rate_where(const at::Tensor& hits, const at::Tensor& counted) {
  return {count_true(hits & counted), count_true(counted)};
}

at::Tensor counted_images(const at::Tensor& true_labels, const at::Tensor& attack_labels,
                          TriggeredCount count) {
  return count == TriggeredCount::non_target ? true_labels != attack_labels
                                             : at::ones_like(true_labels, at::kBool);
}

}  // namespace

double Rate::percent() const { return 100.0 * share(hits, total); }

Rate clean_accuracy(const at::Tensor& predictions, const at::Tensor& labels) {
  require_vectors("clean_accuracy", {predictions, labels});
  return {count_true(predictions == labels), labels.numel()};
}

std::vector<Rate> per_class_accuracy(const at::Tensor& predictions, const at::Tensor& labels,
                                     std::int64_t classes) {
  require_vectors("per_class_accuracy", {predictions, labels});
  std::vector<Rate> rates;
  for (std::int64_t c = 0; c < classes; ++c) rates.push_back(rate_where(predictions == c, labels == c));
  return rates;
}

Rate attack_success_rate(const at::Tensor& predictions, const at::Tensor& true_labels,
                         const at::Tensor& attack_labels, TriggeredCount count) {
  require_vectors("attack_success_rate", {predictions, true_labels, attack_labels});
  return rate_where(predictions == attack_labels, counted_images(true_labels, attack_labels, count));
}

Rate poisoned_accuracy(const at::Tensor& predictions, const at::Tensor& true_labels,
                       const at::Tensor& attack_labels, TriggeredCount count) {
  require_vectors("poisoned_accuracy", {predictions, true_labels, attack_labels});
  return rate_where(predictions == true_labels, counted_images(true_labels, attack_labels, count));
}

double defense_effectiveness(double ca_undefended, double asr_undefended, double ca, double asr) {
  const double asr_drop = (asr_undefended - asr) / 100.0;
  const double ca_drop = (ca_undefended - ca) / 100.0;
  if (std::isnan(asr_drop) || std::isnan(ca_drop)) return not_defined;
  return (std::max(0.0, asr_drop) - std::max(0.0, ca_drop) + 1.0) / 2.0;
}

double auroc(const at::Tensor& scores, const at::Tensor& positives) {
  require_vectors("auroc", {scores, positives});
  if (at::isnan(scores).any().item<bool>()) return not_defined;

  // Mann-Whitney: the share of (positive, negative) pairs in which the positive scores higher, from one pass
  // over the scores in ascending order. Counted in half pairs, so that ties stay whole numbers.
  auto [values, order] = at::sort(scores.to(at::kCPU, at::kDouble));
  const at::Tensor labels = positives.to(at::kCPU, at::kBool).index_select(0, order).contiguous();
  const double* value = values.data_ptr<double>();
  const bool* positive = labels.data_ptr<bool>();
  const std::int64_t n = values.numel();

  std::int64_t half_pairs_won = 0;
  std::int64_t positives_below = 0;
  std::int64_t negatives_below = 0;
  for (std::int64_t begin = 0, end = 0; begin < n; begin = end) {
    std::int64_t tied_positives = 0;
    while (end < n && value[end] == value[begin]) tied_positives += positive[end++] ? 1 : 0;
    const std::int64_t tied_negatives = end - begin - tied_positives;
    half_pairs_won += tied_positives * (2 * negatives_below + tied_negatives);
    positives_below += tied_positives;
    negatives_below += tied_negatives;
  }
  return share(half_pairs_won, 2 * positives_below * negatives_below);
}

double Detection::precision() const { return share(true_positives, true_positives + false_positives); }
double Detection::recall() const { return share(true_positives, true_positives + false_negatives); }
double Detection::false_positive_rate() const {
  return share(false_positives, false_positives + true_negatives);
}

Detection detection(const at::Tensor& flagged, const at::Tensor& positives) {
  require_vectors("detection", {flagged, positives});
  Detection result;
  result.true_positives = count_true(flagged & positives);
  result.false_positives = count_true(flagged) - result.true_positives;
  result.false_negatives = count_true(positives) - result.true_positives;
  result.true_negatives =
      flagged.numel() - result.true_positives - result.false_positives - result.false_negatives;
  return result;
}

}  // namespace mcci
