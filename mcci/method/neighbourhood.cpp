#include "mcci/method/neighbourhood.hpp"

#include <algorithm>
#include <limits>

#include "mcci/core/error.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {

torch::Tensor neighbourhood_opinion(const torch::Tensor& features, const torch::Tensor& labels,
                                    std::int64_t classes, std::int64_t neighbours,
                                    std::int64_t similarities) {
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
  torch::Tensor counts = torch::zeros({samples, classes}, wide.options());
  for (std::int64_t first = 0; first < samples; first += rows) {
    const std::int64_t count = std::min(rows, samples - first);
    torch::Tensor similarity = unit.narrow(0, first, count).mm(unit.t());
    similarity.diagonal(first).fill_(-std::numeric_limits<float>::infinity());  // not its own neighbour
    const torch::Tensor nearest = std::get<1>(similarity.topk(neighbours, 1));
    const torch::Tensor theirs = labels.index_select(0, nearest.flatten()).view_as(nearest);
    counts.narrow(0, first, count).scatter_add_(1, theirs, torch::ones(theirs.sizes(), wide.options()));
  }
  return counts / static_cast<double>(neighbours);
}

torch::Tensor neighbourhood_opinion(Backbone& encoder, const DatasetPtr& data, const Compute& compute,
                                    std::int64_t neighbours) {
  const bool trained = encoder.is_training();
  encoder.eval();
  const torch::Tensor features = of_every_sample(data, compute, [&](const torch::Tensor& images) {
    const Autocast autocast(compute);
    return encoder.features(images).to(torch::kFloat);
  });
  encoder.train(trained);
  return neighbourhood_opinion(features, data->labels(), data->num_classes(), neighbours);
}

}  // namespace mcci
