#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <torch/nn/module.h>

#include "mcci/data/loader.hpp"
#include "mcci/state/tensors.hpp"
#include "mcci/train/options.hpp"

namespace mcci {

// A stretch of training with its own parameters, optimizer and schedule.
struct Phase {
  std::string name;
  std::int64_t epochs = 0;
  TensorList parameters;    // what this phase trains
  std::int64_t images = 0;  // of each epoch, drawn anew; 0: all
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  AugmentOptions augment;
  bool classifies = true;  // its steps give logits of the labels, from which training accuracy is recorded
};

// A module's parameters by their dotted names.
TensorList parameter_list(const torch::nn::Module& module);

// A phase of options.epochs epochs with the run's optimizer, schedule and augmentation.
Phase make_phase(std::string name, TensorList parameters, const TrainOptions& options);

// One with epochs of its own at a constant learning rate that was published for `optimizer`, and which it has
// therefore whatever the run's is: to another the rate means something else. Where the run's is another,
// momentum and weight decay are that optimizer's defaults. No average of the weights is kept: of a few steps
// it would keep nothing.
Phase make_constant_phase(std::string name, TensorList parameters, const TrainOptions& options,
                          std::int64_t epochs, const std::string& optimizer, double lr);

struct StepOutput {
  at::Tensor loss;    // scalar, differentiable
  at::Tensor logits;  // [B, classes], as the loss saw them; undefined where the phase classifies nothing
};

// What the epoch loop trains: a defense, or the trigger generator of an attack. It supplies phases and the
// loss of one batch. The trainer calls phases, then for every epoch begin_epoch and loss per step, then
// finish.
class Learner {
 public:
  virtual ~Learner() = default;

  virtual torch::nn::Module& module() = 0;
  virtual std::vector<Phase> phases(const TrainOptions& options) = 0;
  // Before the first step of every epoch (of the phase, counted from zero): what an epoch needs to know of
  // the whole set. A function of module(), extra_state(), `data` and the seed alone: a run that was stopped
  // between two epochs calls it again.
  virtual void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data);
  // The set from which a phase is trained: `data`, or one made of it and of what else the learner was given.
  // Asked for after begin_epoch.
  virtual DatasetPtr source(std::size_t /*phase*/, const DatasetPtr& data) { return data; }
  // The samples of source() from which the epochs of a phase are drawn: [M] int64 positions, which may
  // repeat; undefined: all; none: nothing is learned in this phase. Asked for after begin_epoch, of which it
  // may be a result.
  virtual at::Tensor pool(std::size_t /*phase*/) { return {}; }
  // Forward pass and loss of one batch on the device; the module is in training mode.
  virtual StepOutput loss(std::size_t phase, const Batch& batch) = 0;
  // After the last step.
  virtual void finish(const DatasetPtr& data);
  // What a checkpoint must hold besides module(), e.g. a posterior per training sample.
  virtual TensorList extra_state() { return {}; }
  virtual void set_extra_state(const TensorList& tensors, const std::string& where);
};

}  // namespace mcci
