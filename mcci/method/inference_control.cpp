#include "mcci/method/inference_control.hpp"

#include <algorithm>
#include <vector>

#include "mcci/data/loader.hpp"

namespace mcci {
namespace {

constexpr std::int64_t kBatch = 500;
constexpr int kRefinements = 3;

}  // namespace

Embeddings embed(MindControlModel model, const DatasetPtr& data, const Compute& compute, bool with_semantic) {
  const torch::NoGradGuard no_grad;
  model->eval();
  std::vector<torch::Tensor> semantic;
  std::vector<torch::Tensor> indicator;
  for_each_batch(data, kBatch, [&](const Batch& batch) {
    const torch::Tensor images = place(batch.images, compute);
    if (with_semantic) semantic.push_back(model->semantic_embedding(images).cpu());
    indicator.push_back(model->indicator_embedding(model->spectrum(images)).cpu());
  });
  return {with_semantic ? torch::cat(semantic) : torch::Tensor(), torch::cat(indicator)};
}

torch::Tensor least_suspicious_centre(const torch::Tensor& indicator, const torch::Tensor& labels,
                                      const torch::Tensor& suspicion, std::int64_t num_classes) {
  std::vector<torch::Tensor> centres;
  for (std::int64_t c = 0; c < num_classes; ++c) {
    const torch::Tensor members = labels.eq(c).nonzero().squeeze(1);
    if (members.numel() == 0) continue;
    const torch::Tensor order = std::get<1>(suspicion.index_select(0, members).sort(/*stable=*/true, 0, /*descending=*/false));
    const std::int64_t kept = std::max<std::int64_t>(1, members.numel() / 2);
    centres.push_back(indicator.index_select(0, members.index_select(0, order.narrow(0, 0, kept))).mean(0));
  }
  return torch::stack(centres).mean(0);
}

torch::Tensor most_suspicious_centre(const torch::Tensor& indicator, const torch::Tensor& suspicion) {
  const std::int64_t kept = std::max<std::int64_t>(1, suspicion.numel() / 100);
  return indicator.index_select(0, std::get<1>(suspicion.topk(kept))).mean(0);
}

torch::Tensor indicator_evidence(MindControlModel model, const torch::Tensor& z, const torch::Tensor& z_f,
                                 const torch::Tensor& labels) {
  const torch::Tensor semantic = model->semantic_logits(z);
  const auto log_likelihood = [&](const torch::Tensor& indicator) {
    return (semantic + model->indicator_logits(indicator)).log_softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1);
  };
  return log_likelihood(z_f) - log_likelihood(model->clean_indicator);
}

void estimate_reference_indicators(MindControlModel model, const DatasetPtr& data, const Compute& compute) {
  const torch::NoGradGuard no_grad;
  const Embeddings all = embed(model, data, compute, /*with_semantic=*/true);
  const torch::Tensor labels = data->labels();
  model->clean_indicator.copy_(std::get<0>(all.indicator.median(0)));
  torch::Tensor evidence;
  for (int i = 0; i < kRefinements; ++i) {
    evidence = indicator_evidence(model, all.semantic.to(compute.device), all.indicator.to(compute.device),
                                  labels.to(compute.device)).cpu();
    model->clean_indicator.copy_(least_suspicious_centre(all.indicator, labels, evidence, data->num_classes()));
  }
  model->attacked_indicator.copy_(most_suspicious_centre(all.indicator, evidence));
}

torch::Tensor clean_image_centre(MindControlModel model, const DatasetPtr& clean, const Compute& compute) {
  const torch::NoGradGuard no_grad;
  model->eval();
  torch::Tensor sum;
  for_each_batch(clean, kBatch, [&](const Batch& batch) {
    const torch::Tensor spectra = model->spectrum(place(batch.images, compute)).sum(0, /*keepdim=*/true);
    sum = sum.defined() ? sum + spectra : spectra;
  });
  return model->indicator_embedding(sum / clean->size()).squeeze(0);
}

}  // namespace mcci
