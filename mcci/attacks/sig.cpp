#include "mcci/attacks/sig.hpp"

#include <ATen/ATen.h>

#include "mcci/attacks/target.hpp"

namespace mcci {

namespace {

constexpr double pi = 3.14159265358979323846;

class Sig : public Attack {
 public:
  void declare(OptionSet& set) override {
    target_.declare_class(set);
    set.add("train-delta", train_delta_, "amplitude in training, in grey levels", {0, 255});
    set.add("test-delta", test_delta_, "amplitude at test time, in grey levels", {0, 255});
    set.add("frequency", frequency_, "periods over the width of the image", {0, 4096});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> presets(
        "preset of sig",
        {{"backdoorbench", "delta 40, frequency 6, class 0", Json::object()},
         {"dst", "D-ST: delta 40 in training, 60 at test time", Json::object({{"test-delta", 60}})},
         {"toolbox", "Backdoor Toolbox: delta 30", Json::object({{"train-delta", 30}, {"test-delta", 30}})}});
    return presets;
  }

  bool clean_label() const override { return true; }

  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return target_.attack_label(label, num_classes);
  }

  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&,
                   Stage stage) const override {
    const auto width = static_cast<double>(images.size(3));
    const at::Tensor phase = at::arange(images.size(3), at::kDouble) * (2 * pi * frequency_ / width);
    const at::Tensor wave = at::sin(phase) * (stage == Stage::train ? train_delta_ : test_delta_);
    return (images.to(at::kFloat) + wave.to(at::kFloat)).round().clamp(0, 255).to(at::kByte);
  }

 private:
  TargetOptions target_;
  double train_delta_ = 40;
  double test_delta_ = 40;
  double frequency_ = 6;
};

}  // namespace

std::unique_ptr<Attack> make_sig() { return std::make_unique<Sig>(); }

}  // namespace mcci
