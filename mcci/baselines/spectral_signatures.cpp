#include "mcci/baselines/spectral_signatures.hpp"

#include <ATen/ATen.h>

#include "mcci/baselines/filter.hpp"
#include "mcci/baselines/isolation.hpp"
#include "mcci/train/recipes.hpp"

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
    static const Registry<Json> table = [] {
      Json paper = recipes().at("paper");
      paper.update({{"optimizer", "sgd"}, {"probe-epochs", 100}, {"class-poison", 0.1}});
      Json fast = recipes().at("fast");
      fast.update({{"probe-epochs", 2}, {"class-poison", 0.1}});
      return Registry<Json>("preset",
                            {{"paper", "its scores and shares; as long a training before as after", paper},
                             {"fast", "the short recipe, half of it before", fast}});
    }();
    return table;
  }

 protected:
  at::Tensor judge(const DatasetPtr& data) override {
    const at::Tensor seen = probe_features(data);
    at::Tensor suspicion = at::full({data->size()}, -1.0F);
    for (std::int64_t c = 0; c < data->num_classes(); ++c) {
      const at::Tensor members = data->labels().eq(c).nonzero().squeeze(1);
      if (members.numel() < 2) continue;
      suspicion.index_copy_(
          0, members, flag_highest(spectral_scores(seen.index_select(0, members)), 1.5 * class_poison_));
    }
    return suspicion;
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
