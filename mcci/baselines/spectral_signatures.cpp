#include "mcci/baselines/spectral_signatures.hpp"

#include <ATen/ATen.h>

#include "mcci/baselines/filter.hpp"
#include "mcci/baselines/isolation.hpp"

namespace mcci {
namespace {

class SpectralSignatures : public ProbeFilter {
 public:
  void declare(OptionSet& set) override {
    ProbeFilter::declare(set);
    set.add("class-poison", class_poison_,
            "bound on the share of a class that is poisoned; 1.5 times it is left out", {1e-6, 0.6});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table =
        probe_presets("scores and shares", {{"class-poison", 0.1}}, {{"probe-epochs", 2}});
    return table;
  }

 protected:
  at::Tensor judge(const DatasetPtr& data) override {
    return judge_classes(data, [this](std::int64_t /*label*/, const at::Tensor& features) {
      return flag_highest(spectral_scores(features), 1.5 * class_poison_);
    });
  }

 private:
  double class_poison_ = 0.1;
};

}  // namespace

std::unique_ptr<Defense> make_spectral_signatures() { return std::make_unique<SpectralSignatures>(); }

at::Tensor spectral_scores(const at::Tensor& features) {
  const at::Tensor centred = features.to(at::kDouble) - features.to(at::kDouble).mean(0, /*keepdim=*/true);
  // Eigenvalues ascend; the direction of largest variance is the last.
  const at::Tensor directions = std::get<1>(at::linalg_eigh(centred.t().mm(centred)));
  return centred.mv(directions.select(1, directions.size(1) - 1)).square().to(at::kFloat);
}

}  // namespace mcci
