#include "mcci/train/fine_tuning.hpp"

#include <cmath>

#include "mcci/core/error.hpp"
#include "mcci/nn/weights.hpp"
#include "mcci/train/low_rank.hpp"

namespace mcci {
namespace {

void collect(torch::nn::Module& module, std::vector<Backbone*>& backbones) {
  if (auto* backbone = dynamic_cast<Backbone*>(&module)) {
    backbones.push_back(backbone);
    return;
  }
  for (const auto& child : module.named_children()) collect(*child.value(), backbones);
}

// Blocks, and the head, that a parameter of this depth is to be trained from on; below it is frozen.
std::int64_t first_trained_depth(const Backbone& backbone, const FineTuneOptions& options) {
  const std::int64_t head = backbone.depth_of(backbone.head_name() + ".weight");
  if (options.fine_tune == "linear-probe" || options.fine_tune == "lora") return head;
  if (options.fine_tune == "last-blocks") return head - options.trained_blocks;
  return 0;
}

}  // namespace

std::vector<Backbone*> backbones_in(torch::nn::Module& module) {
  std::vector<Backbone*> backbones;
  collect(module, backbones);
  return backbones;
}

FoundLayout load_backbones(torch::nn::Module& module, const TensorList& weights, const std::string& where) {
  const std::vector<Backbone*> backbones = backbones_in(module);
  if (backbones.empty())
    throw Error(ErrorKind::usage, "this model has no backbone to start from weights", where);
  FoundLayout found;
  for (Backbone* backbone : backbones) found = load_weights(*backbone, weights, where).found;
  return found;
}

FineTuning::FineTuning(torch::nn::Module& module, const FineTuneOptions& options)
    : module_(module), layer_decay_(options.layer_decay), backbones_(backbones_in(module)) {
  for (const Backbone* backbone : backbones_) {
    const std::int64_t first = first_trained_depth(*backbone, options);
    const std::int64_t head = backbone->depth_of(backbone->head_name() + ".weight");
    for (const auto& parameter : backbone->named_parameters()) {
      const std::int64_t depth = backbone->depth_of(parameter.key());
      at::Tensor tensor = parameter.value();
      const bool adapted = options.fine_tune == "lora" && depth > 0 && depth < head &&
                           LowRank::suits(tensor, options.lora_rank);
      const bool frozen = depth < first && !adapted;
      places_[tensor.unsafeGetTensorImpl()] = {tensor, head - depth, frozen, adapted};
      if (frozen) tensor.set_requires_grad(false);
    }
  }
}

FineTuning::~FineTuning() {
  for (auto& [identity, place] : places_) {
    if (place.frozen) place.parameter.set_requires_grad(true);
  }
}

const FineTuning::Place* FineTuning::find(const at::Tensor& parameter) const {
  const auto found = places_.find(parameter.unsafeGetTensorImpl());
  return found == places_.end() ? nullptr : &found->second;
}

TensorList FineTuning::trained(const TensorList& parameters) const {
  TensorList result;
  for (const auto& named : parameters) {
    const Place* place = find(named.second);
    if (place == nullptr || !place->frozen) result.push_back(named);
  }
  return result;
}

TensorList FineTuning::adapted(const TensorList& parameters) const {
  TensorList result;
  for (const auto& named : parameters) {
    const Place* place = find(named.second);
    if (place != nullptr && place->adapted) result.push_back(named);
  }
  return result;
}

std::vector<double> FineTuning::scales(const TensorList& parameters) const {
  std::vector<double> factors;
  if (layer_decay_ == 1) return factors;
  for (const auto& [name, parameter] : parameters) {
    const Place* place = find(parameter);
    factors.push_back(place == nullptr ? 1 : std::pow(layer_decay_, static_cast<double>(place->below_head)));
  }
  return factors;
}

bool FineTuning::is_frozen(const torch::nn::Module& module) const {
  const auto parameters = module.parameters();
  if (parameters.empty()) return false;
  for (const at::Tensor& parameter : parameters) {
    const Place* place = find(parameter);
    if (place == nullptr || !place->frozen) return false;
  }
  return true;
}

void FineTuning::freeze_modules(torch::nn::Module& module) {
  for (const auto& child : module.named_children()) {
    if (is_frozen(*child.value())) {
      child.value()->eval();
    } else {
      freeze_modules(*child.value());
    }
  }
}

void FineTuning::set_training_mode() {
  module_.train();
  for (Backbone* backbone : backbones_) freeze_modules(*backbone);
}

}  // namespace mcci
