#include "mcci/baselines/stamp.hpp"

#include <algorithm>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"

namespace mcci {

at::Tensor stamped(const at::Tensor& images, std::int64_t size, const at::Tensor& colour) {
  at::Tensor result = images.clone();
  result.narrow(2, 0, std::min(size, images.size(2)))
      .narrow(3, 0, std::min(size, images.size(3)))
      .copy_(colour.view({1, -1, 1, 1}));
  return result;
}

at::Tensor StampingDefense::logits(const at::Tensor& images, Perception perception) {
  return BackboneDefense::logits(with_stamp(images), perception);
}

at::Tensor StampingDefense::embedding(const at::Tensor& images, Perception perception) {
  return BackboneDefense::embedding(with_stamp(images), perception);
}

std::shared_ptr<Backbone> StampingDefense::folded() {
  throw Error(ErrorKind::usage,
              "a model of " + name_ + " stamps every image first, which no plain backbone does", "",
              "export another defense's model");
}

}  // namespace mcci
