#pragma once

#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "mcci/nn/backbone.hpp"

namespace mcci {

inline BackboneConfig tiny(const std::string& name, std::int64_t width, std::int64_t depth,
                           std::int64_t image_size, std::int64_t outputs = 10) {
  BackboneConfig result;
  result.name = name;
  result.width = width;
  result.depth = depth;
  result.image_size = image_size;
  result.outputs = outputs;
  return result;
}

// A small network of a registered name.
inline BackboneConfig tiny_of(const std::string& name) {
  const std::string family = backbones().at(name).layouts->name;
  if (family == "ViT") return tiny(name, 48, 1, 32);
  return tiny(name, 8, family == "ResNet" ? 0 : 1, 32);
}

inline std::int64_t parameter_count(const Backbone& net) {
  std::int64_t count = 0;
  for (const at::Tensor& parameter : net.parameters()) count += parameter.numel();
  return count;
}

inline double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  if (actual.sizes() != expected.sizes()) return 1;
  return ((actual - expected).norm() / expected.norm()).item<double>();
}

}  // namespace mcci
