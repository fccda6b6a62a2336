#pragma once

#include <torch/types.h>

#include "mcci/nn/backbone.hpp"

namespace mcci {

// A backbone that reduces the image to a map of features and averages that over all places.
class SpatialBackbone : public Backbone {
 public:
  // The last map: x as forward() takes it -> [B,D,h,w].
  torch::Tensor feature_map(const torch::Tensor& x);

 protected:
  virtual torch::Tensor map(const torch::Tensor& x) = 0;  // of normalised images
  // Over one dimension of places: the gradient of a mean over two would be laid out by channel, and the
  // activation before it cost ten times as much.
  torch::Tensor embed(const torch::Tensor& x) override {
    return map(x).permute({0, 2, 3, 1}).flatten(1, 2).mean(1);
  }
};

// backbone.feature_map(x). Errors: usage if the backbone has none: a ViT.
torch::Tensor last_feature_map(Backbone& backbone, const torch::Tensor& x);

}  // namespace mcci
