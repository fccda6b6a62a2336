#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <torch/nn/module.h>

#include "mcci/core/registry.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/state/tensors.hpp"
#include "mcci/train/options.hpp"

namespace mcci {

// What is to be learned.
struct Problem {
  ImageShape shape;
  std::int64_t num_classes = 0;
  BackboneConfig backbone;  // outputs is chosen by the defense
  Compute compute;
  std::uint64_t seed = 0;
};

// A stretch of training with its own parameters, optimizer and schedule.
struct Phase {
  std::string name;
  std::int64_t epochs = 0;
  TensorList parameters;    // what this phase trains
  std::int64_t images = 0;  // of each epoch, drawn anew; 0: all
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  AugmentOptions augment;
};

// A module's parameters by their dotted names.
TensorList parameter_list(const torch::nn::Module& module);

// A phase of options.epochs epochs with the run's optimizer, schedule and augmentation.
Phase make_phase(std::string name, TensorList parameters, const TrainOptions& options);

struct StepOutput {
  at::Tensor loss;    // scalar, differentiable
  at::Tensor logits;  // [B, classes], as the loss saw them
};

// What the model is told about the image before it answers ("mind control").
enum class Perception {
  clean,     // the fake non-attack indicator: what is deployed
  own,       // the image's own indicator, as in training
  attacked,  // the indicator of attacked samples, for inspection
};

// A way to train a classifier on a set that may be poisoned. It sees images and recorded labels, never the
// truth. The trainer calls, in this order: declare, build, then for every epoch begin_epoch and loss per
// step, then finish.
class Defense {
 public:
  virtual ~Defense() = default;

  // Its options and the values that its presets give to them and to TrainOptions, by option name.
  virtual void declare(OptionSet& set) = 0;
  virtual const Registry<Json>& presets() const = 0;

  // Makes the networks, on the device; their weights derive from problem.seed.
  virtual void build(const Problem& problem) = 0;
  virtual torch::nn::Module& module() = 0;

  virtual std::vector<Phase> phases(const TrainOptions& options) = 0;
  // Before the first step of every epoch (of the phase, counted from zero): what an epoch needs to know of
  // the whole set. A function of module(), extra_state(), `data` and the seed alone: a run that was stopped
  // between two epochs calls it again.
  virtual void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data);
  // Forward pass and loss of one batch on the device; the module is in training mode.
  virtual StepOutput loss(std::size_t phase, const Batch& batch) = 0;
  // After the last step.
  virtual void finish(const DatasetPtr& data);
  // What a checkpoint must hold besides module(), e.g. a posterior per training sample.
  virtual TensorList extra_state() { return {}; }
  virtual void set_extra_state(const TensorList& tensors, const std::string& where);

  // Inference, in evaluation mode, without gradients. images [B,C,H,W] float32 in [0,1] on the device.
  // -> [B, classes] float32. Errors: usage if the defense has no indicator and `perception` is not clean.
  virtual at::Tensor logits(const at::Tensor& images, Perception perception) = 0;
  // How much more the sample's own indicator than the fake one explains its label: [B] float32, higher is
  // more suspicious. Errors: usage if has_suspicion() is false.
  virtual bool has_suspicion() const { return false; }
  virtual at::Tensor suspicion(const at::Tensor& images, const at::Tensor& labels);
  // The suspicion from which a sample is flagged.
  virtual double suspicion_threshold() const { return 0; }

  // The deployed model as a plain backbone whose head has `classes` outputs: logits(x, clean) = backbone(x).
  virtual std::shared_ptr<Backbone> folded() = 0;
};

}  // namespace mcci
