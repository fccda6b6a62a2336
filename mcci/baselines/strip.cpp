#include "mcci/baselines/strip.hpp"

#include <vector>

#include <ATen/ATen.h>

#include "mcci/baselines/filter.hpp"
#include "mcci/core/progress.hpp"
#include "mcci/core/random.hpp"

namespace mcci {
namespace {

constexpr std::int64_t batch_images = 500;

class Strip : public ProbeFilter {
 public:
  void declare(OptionSet& set) override {
    ProbeFilter::declare(set);
    clean_.declare(set);
    set.add("overlays", overlays_, "clean images laid over each image, in turn", {1, 10000});
    set.add("false-rejection", false_rejection_, "share of the clean images that may be taken for triggered",
            {1e-6, 0.5});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table =
        probe_presets("overlays and bound", {{"overlays", 100}, {"false-rejection", 0.01}},
                      {{"overlays", 8}, {"probe-epochs", 4}});
    return table;
  }

  std::string assumes() const override { return "clean images"; }
  const CleanDataOptions* clean_data() const override { return &clean_; }

 protected:
  at::Tensor judge(const DatasetPtr& data) override {
    const at::Tensor of_clean = entropies(clean_images(), "strip, clean images");
    const double bound = of_clean.quantile(false_rejection_).item<double>();
    return bound - entropies(data, "strip");
  }

 private:
  // The mean entropy of the probe's answers, in nats, over images laid over each sample: [N] float32.
  at::Tensor entropies(const DatasetPtr& data, const std::string& purpose) {
    const at::NoGradGuard no_grad;
    const DatasetPtr& clean = clean_images();
    probe().eval();
    std::vector<at::Tensor> parts;
    Progress progress(purpose, data->size(), "images");
    for_each_batch(data, batch_images, [&](const Batch& batch) {
      std::vector<Rng> draws;
      for (std::int64_t i = 0; i < batch.indices.size(0); ++i) {
        draws.emplace_back(derive_seed(problem().seed, purpose,
                                       {static_cast<std::uint64_t>(batch.indices[i].item<std::int64_t>())}));
      }
      at::Tensor sum = at::zeros({batch.indices.size(0)});
      for (std::int64_t k = 0; k < overlays_; ++k) {
        std::vector<std::int64_t> drawn;
        for (Rng& draw : draws) drawn.push_back(draw.below(clean->size()));
        const at::Tensor overlays = to_unit(clean->images(at::tensor(drawn, at::kLong)));
        const at::Tensor log_p =
            forward(probe(), place(superimposed(batch.images, overlays), problem().compute)).log_softmax(1);
        sum -= (log_p.exp() * log_p).sum(1).cpu();
      }
      parts.push_back(sum / static_cast<double>(overlays_));
      progress.advance(batch.indices.size(0));
    });
    return at::cat(parts);
  }

  CleanDataOptions clean_;
  std::int64_t overlays_ = 100;
  double false_rejection_ = 0.01;
};

}  // namespace

std::unique_ptr<Defense> make_strip() { return std::make_unique<Strip>(); }

at::Tensor superimposed(const at::Tensor& images, const at::Tensor& overlays) {
  return (images + overlays).clamp_max(1);
}

}  // namespace mcci
