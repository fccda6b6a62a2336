#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "mcci/core/options.hpp"
#include "mcci/data/dataset.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/train/learner.hpp"

namespace mcci {

// Isolation by loss, ABL's first half (Li et al., NeurIPS 2021): poison is learned faster than clean samples,
// all the more if the loss of what is learned already is held up; so what has the lowest loss is suspicious.
struct IsolationOptions {
  std::int64_t isolation_epochs = 10;
  double isolation_lr = 0.1;
  std::string isolation_loss = "flooding";
  double isolation_level = 0.5;
  double isolation_share = 0.01;
  void declare(OptionSet& set);
  // Training for it: sgd at a constant isolation_lr, on images as they are.
  Phase phase(TensorList parameters, const TrainOptions& options) const;
  // A batch's output with its loss, the mean cross entropy L, held up: flooding |L - level| + level, or lga
  // (local gradient ascent) sign(L - level) L, of which the gradients are the same: they turn around at the
  // level.
  StepOutput held_up(StepOutput plain) const;
};

// The cross entropy of each sample's recorded label under `network`, which is put in evaluation mode: [N]
// float32 on the CPU.
at::Tensor sample_losses(Backbone& network, const DatasetPtr& data, const Compute& compute);

// Scores [N] as suspicions: minus the lowest of the floor(share N) highest scores (at least one), so that
// these, and whatever equals the lowest of them, are flagged by 0.
at::Tensor flag_highest(const at::Tensor& scores, double share);

// The positions of what is flagged, suspicion >= 0, and of all others: [M] int64, ascending.
at::Tensor flagged(const at::Tensor& suspicion);
at::Tensor unflagged(const at::Tensor& suspicion);

}  // namespace mcci
