#include "mcci/attacks/ctrl.hpp"

#include "mcci/attacks/spectral_trigger.hpp"
#include "mcci/attacks/target.hpp"

namespace mcci {

namespace {

class Ctrl : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare_class(set);
    trigger_.declare(set);
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of ctrl", {{"backdoorbench", "magnitude 100, the image as window, class 0", Json::object()}});
    return presets;
  }

  bool clean_label() const override { return true; }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&, Stage) const override {
    return trigger_.add_to(images, images.size(2), images.size(3));
  }

 private:
  TargetOptions target_;
  SpectralTrigger trigger_{ColorSpace::yuv, 100};
};

}  // namespace

std::unique_ptr<Attack> make_ctrl() { return std::make_unique<Ctrl>(); }

}  // namespace mcci
