#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "mcci/baselines/backbone_defense.hpp"

namespace mcci {

// A detector as a defense: it is trained, judges the training set, and a fresh backbone is then trained
// plainly on what it keeps.
class FilterDefense : public BackboneDefense {
 public:
  std::vector<Phase> phases(const TrainOptions& options) override;
  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override;
  at::Tensor pool(std::size_t phase) override;
  StepOutput loss(std::size_t phase, const Batch& batch) override;

 protected:
  static constexpr std::size_t detector_phase = 0;

  // How the detector is trained, and the loss of one of its batches.
  virtual Phase detector(const TrainOptions& options) = 0;
  virtual StepOutput detector_loss(const Batch& batch) = 0;
  // The suspicion of each sample, [N] float32 on the CPU; what has 0 or more is left out.
  virtual at::Tensor judge(const DatasetPtr& data) = 0;
  // The presets `paper` and `fast`: the recipes of these names, the former by sgd, with the detector's values
  // `own` and those of either. The words say for people what either is.
  static Registry<Json> presets_with(const Json& own, const std::string& paper_words, const Json& paper,
                                     const std::string& fast_words, const Json& fast);
};

// A detector that looks at what a network like the backbone, trained plainly on the whole set, makes of it.
class ProbeFilter : public FilterDefense {
 public:
  void declare(OptionSet& set) override;
  void build(const Problem& problem) override;

 protected:
  Phase detector(const TrainOptions& options) override;
  StepOutput detector_loss(const Batch& batch) override { return plain_loss(*probe_, batch); }
  Backbone& probe() { return *probe_; }
  // The suspicion of each sample from those within its recorded label: `judge_class` is given a label and
  // what the probe's last linear layer reads of its samples, [n >= 2, D] float32 on the CPU, and gives
  // theirs, [n]. A label's only sample is not suspicious.
  at::Tensor judge_classes(
      const DatasetPtr& data,
      const std::function<at::Tensor(std::int64_t label, const at::Tensor& features)>& judge_class);
  // Presets with the values `own`: as published are these alone, so that the probe is trained as long as the
  // backbone; the short one has also `fast`. `what` are the values of `own`, for people.
  static Registry<Json> probe_presets(const std::string& what, const Json& own, const Json& fast);

 private:
  std::int64_t probe_epochs_ = 2;
  std::shared_ptr<Backbone> probe_;
};

}  // namespace mcci
