#include "mcci/attacks/ftrojan.hpp"

#include <algorithm>

#include "mcci/attacks/spectral_trigger.hpp"
#include "mcci/attacks/target.hpp"

namespace mcci {

namespace {

class FTrojan : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare(set);
    trigger_.declare(set);
    set.add("window", window_, "side of the windows in pixels; no larger than the image", {1, 4096});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of ftrojan", {{"backdoorbench", "magnitude 30, windows of 32x32, class 0", Json::object()}});
    return presets;
  }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    const std::int64_t side = std::min({window_, images.size(2), images.size(3)});
    return trigger_.add_to(images, side, side);
  }

 private:
  TargetOptions target_;
  SpectralTrigger trigger_{ColorSpace::ycbcr, 30};
  std::int64_t window_ = 32;
};

}  // namespace

std::unique_ptr<Attack> make_ftrojan() { return std::make_unique<FTrojan>(); }

}  // namespace mcci
