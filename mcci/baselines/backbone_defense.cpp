#include "mcci/baselines/backbone_defense.hpp"

#include <ATen/ops/linear.h>
#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"
#include "mcci/nn/weights.hpp"

namespace mcci {
namespace {

void refuse_indicator(Perception perception) {
  if (perception == Perception::clean) return;
  throw Error(ErrorKind::usage, "this model has no attack indicator to be shown", "--perception",
              "use clean");
}

}  // namespace

void BackboneDefense::build(const Problem& problem) {
  problem_ = problem;
  problem_.backbone.outputs = problem.num_classes;
  torch::manual_seed(derive_seed(problem.seed, "weights"));
  root_ = std::make_shared<torch::nn::Module>();
  backbone_ = add("backbone", make_network());
}

at::Tensor BackboneDefense::add_buffer(const std::string& name, const at::Tensor& value) {
  return root_->register_buffer(name, value.to(problem_.compute.device));
}

const DatasetPtr& BackboneDefense::clean_images() const {
  if (problem_.clean == nullptr || problem_.clean->size() < 2) {
    throw Error(ErrorKind::usage, "this defense needs at least two " + assumes(), "--clean-data");
  }
  return problem_.clean;
}

at::Tensor BackboneDefense::logits(const at::Tensor& images, Perception perception) {
  refuse_indicator(perception);
  const torch::NoGradGuard no_grad;
  backbone_->eval();
  return forward(*backbone_, images);
}

at::Tensor BackboneDefense::embedding(const at::Tensor& images, Perception perception) {
  refuse_indicator(perception);
  const torch::NoGradGuard no_grad;
  backbone_->eval();
  return features(*backbone_, images);
}

std::shared_ptr<Backbone> BackboneDefense::folded() { return copy_of(*backbone_, problem_.backbone); }

void BackboneDefense::set_extra_state(const TensorList& tensors, const std::string& /*where*/) {
  restore_state(sample_state(), tensors, at::kCPU);
}

at::Tensor BackboneDefense::forward(Backbone& network, const at::Tensor& images) const {
  const Autocast autocast(problem_.compute);
  return network.forward(images).to(at::kFloat);
}

at::Tensor BackboneDefense::features(Backbone& network, const at::Tensor& images) const {
  const Autocast autocast(problem_.compute);
  return network.features(images).to(at::kFloat);
}

TensorList BackboneDefense::head_parameters(const Backbone& network) {
  const std::string prefix = network.head_name() + ".";
  TensorList list;
  for (const auto& [name, tensor] : parameter_list(network)) {
    if (name.rfind(prefix, 0) == 0) list.emplace_back(name, tensor);
  }
  return list;
}

at::Tensor BackboneDefense::answer(const Backbone& network, const at::Tensor& features) {
  const TensorList head = head_parameters(network);
  if (head.size() != 2) {
    throw Error(ErrorKind::internal, "a backbone's head must be one linear layer with a bias");
  }
  return at::linear(features, head[0].second, head[1].second);
}

std::int64_t BackboneDefense::feature_size(const Backbone& network) {
  return head_parameters(network).front().second.size(1);
}

at::Tensor BackboneDefense::answer_of_head(const at::Tensor& images) {
  at::Tensor seen;
  {
    const torch::NoGradGuard no_grad;
    backbone_->eval();
    seen = features(*backbone_, images);
  }
  return answer(*backbone_, seen);
}

at::Tensor BackboneDefense::cross_entropies(const at::Tensor& logits, const at::Tensor& labels) {
  namespace F = torch::nn::functional;
  return F::cross_entropy(logits, labels, F::CrossEntropyFuncOptions().reduction(torch::kNone));
}

StepOutput BackboneDefense::plain_loss(Backbone& network, const Batch& batch) const {
  const at::Tensor output = forward(network, batch.images);
  return {torch::nn::functional::cross_entropy(output, batch.labels), output};
}

}  // namespace mcci
