#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

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

enum class Stage { train, test };  // some triggers are weaker in training than at test time (Adaptive-Blend, SIG)

// How the rate is counted.
enum class RateOf {
  whole_set,     // BackdoorBench: of all training images, whatever their class
  target_class,  // the authors' clean-label attacks, BackdoorBox: of the target class
};

// Who is poisoned and what the set then says of it.
struct PoisonPlan {
  std::vector<Role> roles;    // [N]
  at::Tensor labels;          // [N] int64: the recorded labels of the poisoned set
  std::int64_t count(Role role) const;
};

struct PlanOptions {
  double rate = 0.1;
  RateOf rate_of = RateOf::whole_set;
  std::uint64_t seed = 0;
};

// What learned attacks need before they can be applied.
struct PrepareContext {
  DatasetPtr train;                     // the clean set
  std::uint64_t seed = 0;
  std::filesystem::path artifacts;      // a folder that the attack may write to and later reads again; may be empty
};

// One attack: how it turns clean images into triggered ones, and which samples and labels it changes.
// Options are fields declared in declare(); presets name sets of them. Every stochastic choice is derived from
// the seed and the sample's index, so that a triggered image can be made again from the manifest.
class Attack {
 public:
  virtual ~Attack() = default;

  virtual void declare(OptionSet& set) = 0;
  // The option values of a preset, e.g. backdoorbench. Errors: usage, listing the candidates.
  virtual const Registry<Json>& presets() const = 0;

  // Clean-label attacks trigger images of the target class and keep their labels.
  virtual bool clean_label() const { return false; }

  // Called once before apply(), in poison and again in evaluation (then with the artifacts already there).
  virtual void prepare(const PrepareContext& context);

  // The label that a triggered image of class `label` shall get: the target class; y+1 in an all-to-all attack.
  virtual std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const = 0;

  // Default: `rate` of the whole set drawn over all classes, or, if clean_label(), among the target class.
  // Errors: usage when more is asked for than there is, saying how many there are.
  virtual PoisonPlan plan(const at::Tensor& labels, std::int64_t num_classes, const PlanOptions& options) const;

  // Triggered versions of images [B,C,H,W] uint8, any size, 1 or 3 channels; indices [B] int64 are the samples'
  // positions, labels [B] int64 their true classes. Returns the same shape and dtype; the input is not changed.
  virtual at::Tensor apply(const at::Tensor& images, const at::Tensor& indices, const at::Tensor& labels,
                           Stage stage) const = 0;
  // The same for cover samples. Default: apply() in Stage::train.
  virtual at::Tensor apply_cover(const at::Tensor& images, const at::Tensor& indices, const at::Tensor& labels) const;
};

// badnets, blended, ... One line each in registry.cpp.
const Registry<std::function<std::unique_ptr<Attack>()>>& attacks();

}  // namespace mcci
