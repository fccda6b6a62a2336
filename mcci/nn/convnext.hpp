#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "mcci/nn/backbone.hpp"

namespace mcci {

// A ConvNeXt (Liu et al., CVPR 2022) with timm's names and initialisation. Stage i, "stages.<i>", has
// blocks[i] blocks of config.width * 2^i channels; the stem divides the image by 4, each later stage by 2.
// The stochastic depth of its original training is left out. Errors: usage for images below 32 pixels.
std::shared_ptr<Backbone> make_convnext(const BackboneConfig& config,
                                        const std::vector<std::int64_t>& blocks);

// timm, torchvision, transformers, and the original's own.
const LayoutFamily& convnext_layouts();

}  // namespace mcci
