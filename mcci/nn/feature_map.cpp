#include "mcci/nn/feature_map.hpp"

#include "mcci/core/error.hpp"

namespace mcci {

torch::Tensor SpatialBackbone::feature_map(const torch::Tensor& x) {
  const auto of_channels = [&](const std::vector<double>& values) {
    return torch::tensor(values, torch::kDouble).view({-1, 1, 1}).to(x.options());
  };
  return map((x - of_channels(mean())) / of_channels(std()));
}

torch::Tensor last_feature_map(Backbone& backbone, const torch::Tensor& x) {
  auto* const spatial = dynamic_cast<SpatialBackbone*>(&backbone);
  if (spatial == nullptr) {
    throw Error(ErrorKind::usage, "this backbone has no map of features", "--backbone",
                "use a convolutional one: resnet18, efficientnet_b0, convnext_tiny");
  }
  return spatial->feature_map(x);
}

}  // namespace mcci
