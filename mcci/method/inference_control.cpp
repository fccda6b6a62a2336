#include "mcci/method/inference_control.hpp"

#include <algorithm>
#include <vector>

#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

constexpr std::int64_t batch_images = 500;
constexpr int refinements = 3;

}  // namespace

torch::Tensor semantic_embeddings(MindControlModel model, const DatasetPtr& data, const Compute& compute) {
  model->eval();
  return of_every_sample(data, compute, [&](const torch::Tensor& x) { return model->semantic_embedding(x); });
}

torch::Tensor indicator_embeddings(MindControlModel model, const DatasetPtr& data, const Compute& compute) {
  model->eval();
  return of_every_sample(
      data, compute, [&](const torch::Tensor& x) { return model->indicator_embedding(model->spectrum(x)); });
}

torch::Tensor least_suspicious_centre(const torch::Tensor& indicator, const torch::Tensor& labels,
                                      const torch::Tensor& suspicion, std::int64_t num_classes) {
  std::vector<torch::Tensor> centres;
  for (std::int64_t c = 0; c < num_classes; ++c) {
    const torch::Tensor members = labels.eq(c).nonzero().squeeze(1);
    if (members.numel() == 0) continue;
    const torch::Tensor order =
        std::get<1>(suspicion.index_select(0, members).sort(/*stable=*/true, 0, /*descending=*/false));
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
    return (semantic + model->indicator_logits(indicator))
        .log_softmax(1)
        .gather(1, labels.unsqueeze(1))
        .squeeze(1);
  };
  return log_likelihood(z_f) - log_likelihood(model->clean_indicator);
}

void estimate_reference_indicators(MindControlModel model, const DatasetPtr& data, const Compute& compute) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor semantic = semantic_embeddings(model, data, compute);
  const torch::Tensor indicator = indicator_embeddings(model, data, compute);
  const torch::Tensor labels = data->labels();
  model->clean_indicator.copy_(std::get<0>(indicator.median(0)));
  torch::Tensor evidence;
  for (int i = 0; i < refinements; ++i) {
    evidence = indicator_evidence(model, semantic.to(compute.device), indicator.to(compute.device),
                                  labels.to(compute.device))
                   .cpu();
    model->clean_indicator.copy_(least_suspicious_centre(indicator, labels, evidence, data->num_classes()));
  }
  model->attacked_indicator.copy_(most_suspicious_centre(indicator, evidence));
}

torch::Tensor clean_image_centre(MindControlModel model, const DatasetPtr& clean, const Compute& compute) {
  const torch::NoGradGuard no_grad;
  model->eval();
  torch::Tensor sum;
  for_each_batch(clean, batch_images, [&](const Batch& batch) {
    const torch::Tensor spectra = model->spectrum(place(batch.images, compute)).sum(0, /*keepdim=*/true);
    sum = sum.defined() ? sum + spectra : spectra;
  });
  return model->indicator_embedding(sum / clean->size()).squeeze(0);
}

}  // namespace mcci
