#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// What is blended into whole images: a user's picture or, without one, fixed noise. Shared by the attacks
// that blend.
struct PatternOptions {
  std::string image;
  std::int64_t pattern_seed = 0;
  void declare(OptionSet& set);  // image, pattern-seed
};

// [C,H,W] uint8: the picture, resized to context.shape (bilinear, antialiased), or noise uniform over
// 0 .. 255, drawn once for each pixel and channel. The resized picture is kept with the artifacts, so that
// evaluation does not depend on the user's file. Errors: io, data if the picture cannot be read.
at::Tensor make_pattern(const PatternOptions& options, const PrepareContext& context);

// (1 - alpha) image + alpha pattern, in float32, rounded to the nearest whole number, halves to even.
// images [B,C,H,W] uint8, pattern [C,H,W] uint8, alpha in [0,1] -> [B,C,H,W] uint8.
// Errors: internal if prepare() was not called for images of this shape (`attack` names who asks).
at::Tensor blend(const at::Tensor& images, const at::Tensor& pattern, double alpha, const char* attack);

}  // namespace mcci
