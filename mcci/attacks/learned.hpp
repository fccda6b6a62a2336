#pragma once

#include <functional>
#include <memory>
#include <string>

#include "mcci/attacks/attack.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/state/tensors.hpp"
#include "mcci/train/learner.hpp"
#include "mcci/train/options.hpp"

// What attacks share that learn their trigger: where it is kept, and the models they attack.
namespace mcci {

// The tensors that learn() returns, from the cache if they were learned before. `recipe` holds, by value, all
// that determines them but the images and labels of `train`, which are hashed; `name` is for people. The
// cache is $MCCI_CACHE, else $XDG_CACHE_HOME/mcci, else ~/.cache/mcci; files are named by the hash, so that
// none is ever stale, and may be deleted at any time. A file that cannot be read is learned again.
TensorList cached(const Dataset& train, const std::string& name, const Json& recipe,
                  const std::function<TensorList()>& learn);

// What an attack needs in evaluation too: from context.artifacts, else cached() and then kept there.
// Errors: data if there is nothing to learn from (context.train is null); those of learn().
TensorList learned(const PrepareContext& context, const std::string& name, const Json& recipe,
                   const std::function<TensorList()>& learn);

// Of the tensors returned by learned(). Errors: data if it is not there or has another shape.
at::Tensor learned_tensor(const TensorList& tensors, const std::string& name, at::IntArrayRef sizes);
// Errors: internal unless prepare() has made `pattern` [...,C,H,W] for images [B,C,H,W] of this shape.
void check_prepared(const at::Tensor& pattern, const at::Tensor& images, const std::string& attack);

// The epoch loop for an attacker's networks: on context.train, on this process' device, without checkpoints;
// progress under the attack's name. `learner` is built on the device of attack_compute().
void train_attacker(Learner& learner, const PrepareContext& context, const TrainOptions& options,
                    const std::string& title);
Compute attack_compute();

// A network that the attacker trains.
struct AttackerNetwork {
  std::string backbone = "resnet8";
  std::int64_t width = 16;
  // Where it classifies while the trigger is learned: classifier, classifier-width.
  void declare(OptionSet& set);
};
// For the images and classes to come.
BackboneConfig config_of(const AttackerNetwork& network, const PrepareContext& context);

// A clean classifier that the attacker has trained for himself: what a label-consistent, low-frequency or
// Trojan trigger is optimised against. The recipe `fast` of train/recipes.hpp on the whole clean set, plain
// cross entropy; with `eps`, of adversarial images.
struct SurrogateOptions {
  AttackerNetwork network;
  std::int64_t epochs = 4;
  // Largest change of a pixel in training, in grey levels; 0: none. What fools a network that was trained on
  // changed images looks like another class, where else it is noise (Madry et al., 2018).
  std::int64_t eps = 0;
  void declare(OptionSet& set);  // surrogate, surrogate-width, surrogate-epochs
  Json to_json() const;          // for a recipe
};
// In evaluation mode, its parameters without gradients, on the device of attack_compute(); images [B,C,H,W]
// float32 in [0,1] -> [B, classes]. Learned once for all attacks with the same options, seed and data.
// Errors: data if context.train is null; usage for images that the backbone cannot take.
std::shared_ptr<Backbone> surrogate(const SurrogateOptions& options, const PrepareContext& context);

}  // namespace mcci
