#pragma once

#include <memory>
#include <string>

#include <torch/nn/module.h>

#include "mcci/train/defense.hpp"
#include "mcci/train/sample_state.hpp"

namespace mcci {

// A defense whose deployed model is one backbone: what all of this room share. Networks that only training
// needs are further children of the module.
class BackboneDefense : public Defense {
 public:
  void build(const Problem& problem) override;
  torch::nn::Module& module() override { return *root_; }
  at::Tensor logits(const at::Tensor& images, Perception perception) override;
  at::Tensor embedding(const at::Tensor& images, Perception perception) override;
  std::shared_ptr<Backbone> folded() override;
  std::int64_t known_samples() const override {
    return suspicion_of_samples_.defined() ? suspicion_of_samples_.size(0) : 0;
  }
  at::Tensor training_suspicion(const Batch& batch) override {
    if (!suspicion_of_samples_.defined()) return Defense::training_suspicion(batch);
    return suspicion_of_samples_.index_select(0, batch.indices.cpu());
  }
  TensorList extra_state() override { return saved_state(sample_state()); }
  void set_extra_state(const TensorList& tensors, const std::string& where) override;

 protected:
  // Adds a child to the module, on the device. Called from build, after this class's.
  template <class Network>
  std::shared_ptr<Network> add(const std::string& name, std::shared_ptr<Network> network) {
    place(*network, problem_.compute);
    root_->register_module(name, network);
    return network;
  }
  // Adds a tensor that is saved with the module; returns it, on the device.
  at::Tensor add_buffer(const std::string& name, const at::Tensor& value);
  // A network like the deployed one.
  std::shared_ptr<Backbone> make_network() const { return make_backbone(problem_.backbone); }
  Backbone& backbone() { return *backbone_; }
  const Problem& problem() const { return problem_; }
  // The images known to be clean. Errors: usage if there are none.
  const DatasetPtr& clean_images() const;
  // [B, classes] float32.
  at::Tensor forward(Backbone& network, const at::Tensor& images) const;
  // What the network's last linear layer reads, [B, D] float32.
  at::Tensor features(Backbone& network, const at::Tensor& images) const;
  // The parameters of a network's last linear layer, and its answer to what that reads: [B, D] -> [B,
  // outputs].
  static TensorList head_parameters(const Backbone& network);
  static at::Tensor answer(const Backbone& network, const at::Tensor& features);
  // D of features().
  static std::int64_t feature_size(const Backbone& network);
  // The backbone's answer of which only the head learns: its features are those of evaluation mode.
  at::Tensor answer_of_head(const at::Tensor& images);
  // The cross entropy of each sample: logits [B, classes], labels [B] -> [B].
  static at::Tensor cross_entropies(const at::Tensor& logits, const at::Tensor& labels);
  // Plain cross entropy on the recorded labels.
  StepOutput plain_loss(Backbone& network, const Batch& batch) const;

  // What is kept of each sample; those that override it add to it.
  virtual SampleState sample_state() { return {{"suspicion", &suspicion_of_samples_}}; }

  at::Tensor suspicion_of_samples_;  // [N] float32 on the CPU; undefined while nothing is known

 private:
  Problem problem_;
  std::shared_ptr<torch::nn::Module> root_;
  std::shared_ptr<Backbone> backbone_;
};

}  // namespace mcci
