#include "mcci/method/robust_model.hpp"

#include "mcci/method/spectrum.hpp"

namespace mcci {
namespace {

ImageShape indicator_shape(const ImageShape& images) {
  const torch::Tensor indicator =
      attack_indicator(torch::zeros({1, images.channels, images.height, images.width}), Indicator::bands);
  return {indicator.size(1), indicator.size(2), indicator.size(3)};
}

}  // namespace

RobustModelImpl::RobustModelImpl(const Problem& problem, const AinOptions& options)
    : sfrn(register_module("sfrn", make_backbone(problem.backbone))),
      keyholes(register_module("keyholes", Keyholes(problem.shape.channels, problem.num_classes))),
      glimpses(register_module("glimpses", Glimpses(problem.shape, problem.num_classes))),
      ain(register_module("ain", Witnesses(AttackIndicationOptions{indicator_shape(problem.shape),
                                                                   options.embedding, options.ain_width},
                                           problem.num_classes))),
      transition(register_buffer("transition", torch::zeros({problem.num_classes, problem.num_classes}))),
      attacked(register_buffer("attacked", torch::zeros({problem.num_classes}))),
      clean_indicator(register_buffer("clean_indicator", torch::zeros({options.embedding}))),
      attacked_indicator(register_buffer("attacked_indicator", torch::zeros({options.embedding}))),
      compute_(problem.compute) {
  place(*this, compute_);
}

torch::Tensor RobustModelImpl::semantic_logits(const torch::Tensor& images) {
  const Autocast autocast(compute_);
  return sfrn->forward(images).to(torch::kFloat);
}

torch::Tensor RobustModelImpl::glimpse_logits(const torch::Tensor& images) {
  const Autocast autocast(compute_);
  return glimpses->at_random(images).to(torch::kFloat);
}

torch::Tensor RobustModelImpl::indicator(const torch::Tensor& images) const {
  return place(attack_indicator(images, Indicator::bands), compute_);
}

torch::Tensor RobustModelImpl::indicator_embedding(const torch::Tensor& images) {
  const Autocast autocast(compute_);
  return ain->forward(indicator(images)).to(torch::kFloat);
}

Witnesses::Impl::Testimony RobustModelImpl::testimony(const torch::Tensor& images,
                                                      const torch::Tensor& witness) {
  const Autocast autocast(compute_);
  const auto said = ain->testimony(indicator(images), witness);
  return {said.z_f.to(torch::kFloat), said.log_odds.to(torch::kFloat)};
}

torch::Tensor RobustModelImpl::evidence(const torch::Tensor& images) {
  return ain->log_odds(indicator_embedding(images)).clamp(-evidence_limit, evidence_limit);
}

}  // namespace mcci
