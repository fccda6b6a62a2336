#include "mcci/baselines/filter.hpp"

#include <ATen/ATen.h>

#include "mcci/baselines/isolation.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {

std::vector<Phase> FilterDefense::phases(const TrainOptions& options) {
  return {detector(options), make_phase("training", parameter_list(backbone()), options)};
}

void FilterDefense::begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) {
  if (phase == detector_phase || epoch > 0) return;
  suspicion_of_samples_ = judge(data).to(at::kFloat).contiguous();
  const std::int64_t kept = unflagged(suspicion_of_samples_).numel();
  log_info("left out: " + std::to_string(data->size() - kept) + " of " + std::to_string(data->size()) +
           " images");
  if (kept < 2) {
    throw Error(ErrorKind::usage, "the detector leaves nothing to train on", "",
                "give it more epochs, or let it leave out less");
  }
}

at::Tensor FilterDefense::pool(std::size_t phase) {
  return phase == detector_phase ? at::Tensor() : unflagged(suspicion_of_samples_);
}

StepOutput FilterDefense::loss(std::size_t phase, const Batch& batch) {
  return phase == detector_phase ? detector_loss(batch) : plain_loss(backbone(), batch);
}

void ProbeFilter::declare(OptionSet& set) {
  set.add("probe-epochs", probe_epochs_, "epochs of the network on whose view of the set the detector rests",
          {1, 100000});
}

void ProbeFilter::build(const Problem& problem) {
  FilterDefense::build(problem);
  probe_ = add("probe", make_network());
}

Phase ProbeFilter::detector(const TrainOptions& options) {
  Phase phase = make_phase("probe", parameter_list(*probe_), options);
  phase.epochs = probe_epochs_;
  return phase;
}

at::Tensor ProbeFilter::probe_features(const DatasetPtr& data) {
  probe_->eval();
  return of_every_sample(data, problem().compute,
                         [&](const at::Tensor& images) { return features(*probe_, images); });
}

}  // namespace mcci
