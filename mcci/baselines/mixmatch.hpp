#pragma once

#include <functional>

#include <ATen/core/Tensor.h>

#include "mcci/baselines/views.hpp"
#include "mcci/core/options.hpp"
#include "mcci/train/learner.hpp"

namespace mcci {

// MixMatch (Berthelot et al., NeurIPS 2019): training on few samples whose labels are trusted and many whose
// labels are not looked at. What DBD and ASD end with.
struct MixMatchOptions {
  double temperature = 0.5;
  double alpha = 0.75;
  double unlabelled_weight = 15;
  std::int64_t epoch_images = 65536;
  void declare(OptionSet& set);
};

// p^(1/T) of each row, normalised: [B, C].
at::Tensor sharpened(const at::Tensor& probabilities, double temperature);

struct MixMatchBatch {
  at::Tensor labelled;    // [B,...] float32 in [0,1], not augmented
  at::Tensor labels;      // [B] int64
  at::Tensor unlabelled;  // [U,...] likewise
};
using Answer = std::function<at::Tensor(const at::Tensor& images)>;  // logits [B, classes], differentiable

// The loss of a step: one view of each labelled image and two of each unlabelled one, whose guessed label is
// the sharpened mean of the network's answers to them; all mixed with one another by a factor max(l, 1 - l),
// l from Beta(alpha, alpha); cross entropy on the labelled part plus ramp x unlabelled_weight x the squared
// difference of probabilities on the other. The logits of the output are those of the labelled part's
// mixtures.
StepOutput mixmatch_step(const Answer& network, const MixMatchBatch& batch, const MixMatchOptions& options,
                         const ViewOptions& views, double ramp);

// What is trusted and what is not, as a phase needs it.
// The positions [M] repeated until there are at least `count`; M > 0.
at::Tensor repeated_to(const at::Tensor& positions, std::int64_t count);
// `count` of the positions, drawn with replacement from the global generator.
at::Tensor drawn_from(const at::Tensor& positions, std::int64_t count);

// Symmetric cross entropy of each sample (Wang et al., ICCV 2019), 0.1 CE + 1 reverse CE, by which DBD and
// ASD tell clean from poisoned: logits [B, C], labels [B] -> [B].
at::Tensor symmetric_cross_entropy(const at::Tensor& logits, const at::Tensor& labels);

}  // namespace mcci
