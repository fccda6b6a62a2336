#include "mcci/nn/backbone.hpp"

#include <vector>

#include "mcci/core/error.hpp"
#include "mcci/nn/resnet.hpp"

namespace mcci {
namespace {

BackboneEntry resnet(ResidualBlock block, const std::vector<std::int64_t>& blocks, std::int64_t width = 64) {
  return {[block, blocks](const BackboneConfig& config) { return make_resnet(config, block, blocks); },
          width};
}

void check(const char* what, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return;
  throw Error(ErrorKind::usage, std::string(what) + " of a backbone must lie in " + std::to_string(low) +
                                    " .. " + std::to_string(high) + ", not be " + std::to_string(value));
}

}  // namespace

std::int64_t Backbone::depth_of(const std::string& name) const {
  return name.rfind(head_name() + ".", 0) == 0 ? 1 : 0;
}

const Registry<BackboneEntry>& backbones() {
  static const Registry<BackboneEntry> registry(
      "backbone",
      {
          {"resnet8",
           "ResNet of three stages with one basic block each, width 16: for tests and demonstrations",
           resnet(ResidualBlock::basic, {1, 1, 1}, 16)},
          {"resnet18", "ResNet-18 (He et al., 2016)", resnet(ResidualBlock::basic, {2, 2, 2, 2})},
          {"resnet34", "ResNet-34 (He et al., 2016)", resnet(ResidualBlock::basic, {3, 4, 6, 3})},
          {"resnet50", "ResNet-50 v1.5 (He et al., 2016)", resnet(ResidualBlock::bottleneck, {3, 4, 6, 3})},
      });
  return registry;
}

std::shared_ptr<Backbone> make_backbone(const BackboneConfig& config) {
  const BackboneEntry& entry = backbones().at(config.name);
  check("the number of input channels", config.in_channels, 1, 1024);
  check("the image size", config.image_size, 1, 65536);
  check("the number of outputs", config.outputs, 1, 1'000'000);
  check("the width", config.width, 0, 1024);
  BackboneConfig resolved = config;
  if (resolved.width == 0) resolved.width = entry.default_width;
  return entry.make(resolved);
}

}  // namespace mcci
