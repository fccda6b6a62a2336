#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "mcci/core/registry.hpp"
#include "mcci/data/dataset.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/train/learner.hpp"

namespace mcci {

// What is to be learned.
struct Problem {
  ImageShape shape;
  std::int64_t num_classes = 0;
  BackboneConfig backbone;   // outputs is chosen by the defense
  bool pre_trained = false;  // once it is built, the backbone is given weights that were trained elsewhere
  Compute compute;
  std::uint64_t seed = 0;
  DatasetPtr clean;  // what --clean-data gives; null: nothing, or a trained model that is only used
};

// What the model is told about the image before it answers ("mind control").
enum class Perception {
  clean,     // the fake non-attack indicator: what is deployed
  own,       // the image's own indicator, as in training
  attacked,  // the indicator of attacked samples, for inspection
};

// A way to train a classifier on a set that may be poisoned. It sees images and recorded labels, never the
// truth. The order of calls is declare, build, then the trainer's.
class Defense : public Learner {
 public:
  // Its options and the values that its presets give to them and to TrainOptions, by option name.
  virtual void declare(OptionSet& set) = 0;
  virtual const Registry<Json>& presets() const = 0;

  // Makes the networks, on the device; their weights derive from problem.seed.
  virtual void build(const Problem& problem) = 0;
  // Inference, in evaluation mode, without gradients. images [B,C,H,W] float32 in [0,1] on the device.
  // -> [B, classes] float32. Errors: usage if the defense has no indicator and `perception` is not clean.
  virtual at::Tensor logits(const at::Tensor& images, Perception perception) = 0;
  // What the last linear layer reads: [B, D] float32, for pictures of the embedding space. As logits().
  virtual at::Tensor embedding(const at::Tensor& images, Perception perception) = 0;
  // How many of its last columns are the indicator z_f; 0: the defense has none, and no own perception.
  virtual std::int64_t indicator_size() const { return 0; }
  // What it is given besides the training set, in words that follow a count and stand beside its figures:
  // "clean images", "clean images with labels"; empty: nothing.
  virtual std::string assumes() const { return ""; }
  // The options that give it; null for a defense that can be given nothing.
  virtual const CleanDataOptions* clean_data() const { return nullptr; }
  // How much more the sample's own indicator than the fake one explains its label: [B] float32, higher is
  // more suspicious. Errors: usage if has_suspicion() is false.
  virtual bool has_suspicion() const { return false; }
  virtual at::Tensor suspicion(const at::Tensor& images, const at::Tensor& labels);
  // Of how many training samples a trained defense knows more than suspicion() says of an image and a label:
  // of all that it was trained on, or of none.
  virtual std::int64_t known_samples() const { return 0; }
  // The suspicion of training samples on the device, [B] float32: by what is known of each, by its index, 0
  // being the limit from which one is flagged; where nothing is, suspicion().
  virtual at::Tensor training_suspicion(const Batch& batch) { return suspicion(batch.images, batch.labels); }
  // The suspicion from which a sample is flagged.
  virtual double suspicion_threshold() const { return 0; }

  // The deployed model as a plain backbone whose head has `classes` outputs: logits(x, clean) = backbone(x).
  // Errors: usage if it is more than a backbone, since it changes the image first.
  virtual std::shared_ptr<Backbone> folded() = 0;
};

}  // namespace mcci
