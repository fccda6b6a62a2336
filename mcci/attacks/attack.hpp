#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "mcci/core/json.hpp"
#include "mcci/core/options.hpp"
#include "mcci/core/registry.hpp"
#include "mcci/data/dataset.hpp"

namespace mcci {

// What a sample of the poisoned set is.
enum class Role : std::uint8_t {
  clean,   // as it was
  poison,  // triggered; its label is the attacker's (in a clean-label attack that is its own)
  cover,   // triggered in some way, its label kept (WaNet's noise samples, Adaptive-Blend)
};
std::string to_string(Role role);

enum class Stage {
  train,
  test
};  // some triggers are weaker in training than at test time (Adaptive-Blend, SIG)

// How the rate is counted.
enum class RateOf {
  whole_set,     // BackdoorBench: of all training images, whatever their class
  target_class,  // the authors' clean-label attacks, BackdoorBox: of the images of the target class
};
std::string to_string(RateOf rate_of);  // "whole_set", "target_class"

struct PlanOptions {
  double rate = 0.1;  // [0,1]; 0 poisons nothing
  RateOf rate_of = RateOf::whole_set;
  std::uint64_t seed = 0;  // of everything the attack draws at random
};

// Who is poisoned and what the set then says of it.
struct PoisonPlan {
  std::vector<Role> roles;  // [N]
  at::Tensor labels;        // [N] int64: the recorded labels of the poisoned set
  std::int64_t count(Role role) const;
};

struct PrepareContext {
  ImageShape shape;  // of all images to come
  std::int64_t num_classes = 0;
  PlanOptions plan;  // the seed, and for an attack that crafts each poisoned sample, which ones
  std::filesystem::path
      artifacts;     // a folder for what the attack has learned or fixed; empty: nothing is kept
  DatasetPtr train;  // the clean set; null in evaluation, which finds the artifacts in place
};

// One attack: how it turns clean images into triggered ones, and which samples and labels it changes.
// Options are fields declared in declare(); presets name sets of them. Every stochastic choice derives from
// the seed, the stage and the sample's index, so that a triggered image can be made again from the manifest.
// The order of calls is declare, prepare, then any of the const ones, which are safe from several threads.
class Attack {
 public:
  virtual ~Attack() = default;

  virtual void declare(OptionSet& set) = 0;
  // Option values by name of preset; `backdoorbench` is what the fields say.
  virtual const Registry<Json>& presets() const = 0;

  // Clean-label attacks trigger images of the target class and keep their labels.
  virtual bool clean_label() const { return false; }

  // Learns or loads what apply() needs: artifacts that are already there are read, not made again. An attack
  // that draws per sample, or on other samples (residuals, reflections, cross triggers), keeps the seed or
  // `train`.
  virtual void prepare(const PrepareContext& context);

  // The label that a triggered image of class `label` shall get: the target class; (y + 1) mod num_classes in
  // an all-to-all attack; `label` itself if the attack leaves that class alone.
  virtual std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const = 0;
  // The same for test samples: labels [B] int64 of the samples `indices` [B] int64 -> [B] int64. Default:
  // that of each class. Only an attack whose wish depends on the sample (several attacks at once) overrides
  // it.
  virtual at::Tensor attack_labels_of(const at::Tensor& labels, const at::Tensor& indices,
                                      std::int64_t num_classes) const;

  // Default: the nearest whole number to rate x (N or the size of the target class), halves upwards, of
  // samples drawn over all classes - those of the target class included, whose label then stays the same -,
  // or, if clean_label(), among the target class; and its covers(). Errors: usage for a rate outside [0,1],
  // or when more is asked for than there is, saying how many there are.
  virtual PoisonPlan plan(const at::Tensor& labels, std::int64_t num_classes,
                          const PlanOptions& options) const;

  // How many of the samples that a plan leaves clean become covers, which are drawn over all classes.
  // Default: none.
  virtual std::int64_t covers(const PoisonPlan& plan) const;

  // Triggered versions of images [B,C,H,W] uint8, any size, 1 or 3 channels; indices [B] int64 are the
  // samples' positions in the set of this stage, labels [B] int64 their true classes. Returns the same shape
  // and dtype; the input is not changed.
  virtual at::Tensor apply(const at::Tensor& images, const at::Tensor& indices, const at::Tensor& labels,
                           Stage stage) const = 0;
  // The same for cover samples, which exist in training only. Default: apply() in Stage::train.
  virtual at::Tensor apply_cover(const at::Tensor& images, const at::Tensor& indices,
                                 const at::Tensor& labels) const;
};

// Attack::attack_label of every element of labels [N] int64.
at::Tensor attack_labels(const Attack& attack, const at::Tensor& labels, std::int64_t num_classes);

// Test images as evaluation needs them.
struct TriggeredBatch {
  at::Tensor images;         // [B,C,H,W] uint8, triggered
  at::Tensor true_labels;    // [B] int64
  at::Tensor attack_labels;  // [B] int64: what the attacker wants
};
// From clean test images; indices [B] are their positions in the test set.
TriggeredBatch trigger_batch(const Attack& attack, const at::Tensor& images, const at::Tensor& indices,
                             const at::Tensor& labels, std::int64_t num_classes);

// badnets, blended, ... One line each in registry.cpp.
const Registry<std::function<std::unique_ptr<Attack>()>>& attacks();

}  // namespace mcci
