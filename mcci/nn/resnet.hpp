#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "mcci/nn/backbone.hpp"

namespace mcci {

enum class ResidualBlock {
  basic,       // two 3x3 convolutions
  bottleneck,  // 1x1, 3x3 (which has the stride: "v1.5") and 1x1 convolutions, the last with 4x the channels
};

// A residual network (He et al., CVPR 2016) as torchvision builds and initialises it. Stage i, "layer<i+1>",
// has blocks[i] blocks of config.width * 2^i channels; all but the first stage halve the image. At an image
// size of 65 or more the stem is torchvision's (7x7 stride 2, then pooling); below, the one customary for
// CIFAR. Errors: usage if the image is smaller than the stages' total stride.
std::shared_ptr<Backbone> make_resnet(const BackboneConfig& config, ResidualBlock block,
                                      const std::vector<std::int64_t>& blocks);

// torchvision, whose names timm shares, and transformers.
const LayoutFamily& resnet_layouts();

}  // namespace mcci
