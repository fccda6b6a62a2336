#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace mcci {

// All arguments are vectors of one length; anything else is Error(internal). A metric with nothing to count
// is NaN.

// A share with the counts behind it. Percent is 100 hits / total; NaN when total is 0.
struct Rate {
  std::int64_t hits = 0;
  std::int64_t total = 0;
  double percent() const;
};

// CA: the share of predictions [N] int64 equal to labels [N] int64.
Rate clean_accuracy(const at::Tensor& predictions, const at::Tensor& labels);
// CA of each class; element c counts the samples labelled c.
std::vector<Rate> per_class_accuracy(const at::Tensor& predictions, const at::Tensor& labels,
                                     std::int64_t classes);

// Which triggered test images are counted. The default, as BackdoorBench counts: those whose true class is
// not the class the attack would turn them into. `all_classes` also counts the others (the authors' PA does).
enum class TriggeredCount { non_target, all_classes };

// On triggered images: predictions [N], true_labels [N] and attack_labels [N] (what the attacker wants),
// int64. ASR: predicted as the attacker wants.
Rate attack_success_rate(const at::Tensor& predictions, const at::Tensor& true_labels,
                         const at::Tensor& attack_labels, TriggeredCount count = TriggeredCount::non_target);
// PA (BackdoorBench: RA, robust accuracy): predicted as the image's true class.
Rate poisoned_accuracy(const at::Tensor& predictions, const at::Tensor& true_labels,
                       const at::Tensor& attack_labels, TriggeredCount count = TriggeredCount::non_target);

// DER, defense effectiveness rate, in [0,1] (Zhu et al., ICCV 2023): (max(0, dASR) - max(0, dCA) + 1) / 2
// with d = undefended - defended as shares. The arguments are percentages; NaN if one of them is.
double defense_effectiveness(double ca_undefended, double asr_undefended, double ca, double asr);

// Area under the ROC curve of `scores` [N] float, higher meaning positive; `positives` [N] bool. Ties count
// one half. NaN if either side is empty or a score is NaN. O(N log N).
double auroc(const at::Tensor& scores, const at::Tensor& positives);

struct Detection {
  std::int64_t true_positives = 0, false_positives = 0, false_negatives = 0, true_negatives = 0;
  double precision() const;            // NaN if nothing is flagged
  double recall() const;               // TPR; NaN if there is nothing to find
  double false_positive_rate() const;  // NaN if there are no negatives
};
// `flagged` and `positives` [N] bool.
Detection detection(const at::Tensor& flagged, const at::Tensor& positives);

}  // namespace mcci
