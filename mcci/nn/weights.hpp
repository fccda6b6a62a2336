#pragma once

#include <memory>
#include <string>

#include "mcci/nn/backbone.hpp"
#include "mcci/nn/layout.hpp"
#include "mcci/state/tensors.hpp"

namespace mcci {

struct LoadedWeights {
  FoundLayout found;
  // Whether the last linear layer was taken too. It is not if the file has none, or one of another shape
  // (other classes): then the network's own stays, and a message says so.
  bool head = false;
};

// Copies published or trained weights, in whatever layout, into `backbone`. Weights made for another image
// size are fitted to the network's; batch norm's counters may be missing, as they are in old files. Errors:
// data if the layout is unknown or of another architecture, or if anything but the head does not fit
// (load_module_state lists it, under the network's own names); then nothing has been changed.
LoadedWeights load_weights(Backbone& backbone, const TensorList& tensors, const std::string& where);

// The backbone's weights in a layout of its architecture: what load_weights took them from, or
// {&family, &family.at("timm"), ""}. Errors: usage if the layout has no place for some.
TensorList weights_of(const Backbone& backbone, const FoundLayout& found);

// Another network with the weights of `backbone`, which was made from `config`: on the CPU, in evaluation
// mode.
std::shared_ptr<Backbone> copy_of(const Backbone& backbone, const BackboneConfig& config);

}  // namespace mcci
