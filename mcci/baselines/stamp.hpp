#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <ATen/core/Tensor.h>

#include "mcci/baselines/backbone_defense.hpp"

namespace mcci {

// Images [B,C,H,W] with a square of `size` pixels (or as many as there are) in the top-left corner set to
// `colour` ([C]). The input is not changed.
at::Tensor stamped(const at::Tensor& images, std::int64_t size, const at::Tensor& colour);

// A defense whose model stamps every image before it looks at it.
class StampingDefense : public BackboneDefense {
 public:
  explicit StampingDefense(std::string name) : name_(std::move(name)) {}

  at::Tensor logits(const at::Tensor& images, Perception perception) override;
  at::Tensor embedding(const at::Tensor& images, Perception perception) override;
  // Errors: usage, always: no plain backbone stamps its images.
  std::shared_ptr<Backbone> folded() override;

 protected:
  virtual at::Tensor with_stamp(const at::Tensor& images) const = 0;

 private:
  std::string name_;  // for errors
};

}  // namespace mcci
