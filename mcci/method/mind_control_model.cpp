#include "mcci/method/mind_control_model.hpp"

#include <cmath>

#include <torch/nn/init.h>

namespace mcci {

MindControlModelImpl::MindControlModelImpl(const MindControlOptions& options, const Compute& compute)
    : options_(options), compute_(compute) {
  options_.backbone.outputs = options_.embedding;
  sfrn = register_module("sfrn", make_backbone(options_.backbone));
  ain = register_module("ain", AttackIndicationNetwork(AttackIndicationOptions{
                                   options_.shape, options_.embedding, options_.ain_width}));
  semantic_head =
      register_module("semantic_head", torch::nn::Linear(options_.embedding, options_.num_classes));
  indicator_head = register_module(
      "indicator_head",
      torch::nn::Linear(torch::nn::LinearOptions(options_.embedding, options_.num_classes).bias(false)));
  // As the halves of one Linear(2 * embedding, classes), whose initial bound follows from its whole input.
  const double bound = 1 / std::sqrt(static_cast<double>(2 * options_.embedding));
  torch::nn::init::uniform_(semantic_head->weight, -bound, bound);
  torch::nn::init::uniform_(semantic_head->bias, -bound, bound);
  torch::nn::init::uniform_(indicator_head->weight, -bound, bound);
  clean_indicator = register_buffer("clean_indicator", torch::zeros({options_.embedding}));
  attacked_indicator = register_buffer("attacked_indicator", torch::zeros({options_.embedding}));
  place(*this, compute_);
}

torch::Tensor MindControlModelImpl::semantic_embedding(const torch::Tensor& images) {
  const Autocast autocast(compute_);
  return sfrn->forward(images).to(torch::kFloat);
}

torch::Tensor MindControlModelImpl::spectrum(const torch::Tensor& images) const {
  return place(attack_indicator(images, options_.indicator), compute_);
}

torch::Tensor MindControlModelImpl::indicator_embedding(const torch::Tensor& spectrum) {
  const Autocast autocast(compute_);
  return ain->forward(spectrum).to(torch::kFloat);
}

torch::Tensor MindControlModelImpl::semantic_logits(const torch::Tensor& z) {
  return semantic_head->forward(z);
}

torch::Tensor MindControlModelImpl::indicator_logits(const torch::Tensor& z_f) {
  return indicator_head->forward(z_f);
}

}  // namespace mcci
