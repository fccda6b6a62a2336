#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <torch/nn/module.h>

#include "mcci/nn/backbone.hpp"
#include "mcci/state/tensors.hpp"
#include "mcci/train/options.hpp"

namespace mcci {

// The backbones within a module, itself included; not what a backbone is made of.
std::vector<Backbone*> backbones_in(torch::nn::Module& module);

// Starts every backbone within `module` from weights in any layout of its architecture (nn/weights.hpp), and
// says which that is. Errors: as load_weights; usage if there is no backbone.
FoundLayout load_backbones(torch::nn::Module& module, const TensorList& weights, const std::string& where);

// Which parameters of the backbones within a module are trained, and how fast. What is frozen needs no
// gradient as long as this object lives. Parameters outside of backbones are not its business: they are
// trained. With "lora" the head is trained, and the matrices of all blocks by a pair of low rank each.
class FineTuning {
 public:
  FineTuning(torch::nn::Module& module, const FineTuneOptions& options);
  ~FineTuning();
  FineTuning(const FineTuning&) = delete;
  FineTuning& operator=(const FineTuning&) = delete;

  TensorList trained(const TensorList& parameters) const;
  // Those among `parameters` that change by a pair of low rank instead (LowRank); empty but for "lora".
  TensorList adapted(const TensorList& parameters) const;
  // Factors on the learning rate: layer_decay to the power of the blocks between a parameter and the head.
  // Empty if all are 1.
  std::vector<double> scales(const TensorList& parameters) const;
  // Training mode, but evaluation mode for modules all of whose parameters are frozen: a frozen batch norm
  // keeps its statistics, and nothing is dropped out in front of what is trained.
  void set_training_mode();

 private:
  struct Place {
    at::Tensor parameter;
    std::int64_t below_head = 0;  // 0: the head itself
    bool frozen = false;
    bool adapted = false;
  };
  const Place* find(const at::Tensor& parameter) const;
  bool is_frozen(const torch::nn::Module& module) const;
  void freeze_modules(torch::nn::Module& module);

  torch::nn::Module& module_;
  double layer_decay_;
  std::vector<Backbone*> backbones_;
  std::unordered_map<const c10::TensorImpl*, Place> places_;  // of the backbones' parameters
};

}  // namespace mcci
