#include "mcci/method/neighbourhood.hpp"

#include <algorithm>
#include <limits>

#include "mcci/core/error.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {

torch::Tensor neighbourhood_agreement(const torch::Tensor& features, const torch::Tensor& labels,
                                      std::int64_t neighbours, std::int64_t similarities) {
  const torch::NoGradGuard no_grad;
  const std::int64_t samples = features.size(0);
  if (neighbours < 1 || neighbours >= samples) {
    throw Error(ErrorKind::usage,
                "a set of " + std::to_string(samples) + " samples has no " + std::to_string(neighbours) +
                    " neighbours of each",
                "neighbourhood", "ask for at least 1 and less than all");
  }
  const torch::Tensor wide = features.to(torch::kFloat);
  const torch::Tensor unit = wide / wide.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  const std::int64_t rows = std::max<std::int64_t>(1, similarities / samples);
  std::vector<torch::Tensor> parts;
  for (std::int64_t first = 0; first < samples; first += rows) {
    const std::int64_t count = std::min(rows, samples - first);
    torch::Tensor similarity = unit.narrow(0, first, count).mm(unit.t());
    similarity.diagonal(first).fill_(-std::numeric_limits<float>::infinity());  // not its own neighbour
    const torch::Tensor nearest = std::get<1>(similarity.topk(neighbours, 1));
    const torch::Tensor theirs = labels.index_select(0, nearest.flatten()).view_as(nearest);
    parts.push_back(theirs.eq(labels.narrow(0, first, count).unsqueeze(1)).to(torch::kFloat).mean(1));
  }
  return torch::cat(parts);
}

torch::Tensor neighbourhood_agreement(Backbone& encoder, const DatasetPtr& data, const Compute& compute,
                                      std::int64_t neighbours) {
  const bool trained = encoder.is_training();
  encoder.eval();
  const torch::Tensor features = of_every_sample(data, compute, [&](const torch::Tensor& images) {
    const Autocast autocast(compute);
    return encoder.features(images).to(torch::kFloat);
  });
  encoder.train(trained);
  return neighbourhood_agreement(features, data->labels(), neighbours);
}

}  // namespace mcci
