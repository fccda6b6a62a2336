#include "mcci/baselines/activation_clustering.hpp"

#include <ATen/ATen.h>

#include "mcci/baselines/clustering.hpp"
#include "mcci/baselines/filter.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/train/recipes.hpp"

namespace mcci {
namespace {

class ActivationClustering : public ProbeFilter {
 public:
  void declare(OptionSet& set) override {
    ProbeFilter::declare(set);
    set.add("components", components_, "dimensions to which the features are reduced", {1, 4096});
    set.add("whiten", whiten_, "give each of them variance 1, as independent components have (paper: yes)");
    set.add("silhouette", silhouette_,
            "of a class's two clusters, from which the smaller one is left out (-1: always)", {-1.0, 1.0});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = [] {
      Json paper = recipes().at("paper");
      paper.update({{"optimizer", "sgd"},
                    {"probe-epochs", 100},
                    {"components", 10},
                    {"whiten", true},
                    {"silhouette", 0.1}});
      Json fast = recipes().at("fast");
      fast.update({{"probe-epochs", 2}, {"components", 10}, {"whiten", true}, {"silhouette", 0.1}});
      return Registry<Json>(
          "preset", {{"paper", "its clusters and silhouette; as long a training before as after", paper},
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
      const at::Tensor points = principal_components(seen.index_select(0, members), components_, whiten_);
      const std::uint64_t seed =
          derive_seed(problem().seed, "activation clustering", {static_cast<std::uint64_t>(c)});
      const TwoClusters clusters = two_means(points, seed);
      const double apart = silhouette(points, clusters.assignment);
      const std::int64_t second = clusters.assignment.sum().item<std::int64_t>();
      const std::int64_t smaller = 2 * second <= members.numel() ? 1 : 0;
      // How much nearer to the smaller cluster's centre than to the other's: its sign is the assignment.
      const at::Tensor distances =
          (points.unsqueeze(1) - clusters.centres.unsqueeze(0)).square().sum(2).sqrt();
      at::Tensor nearer = distances.select(1, 1 - smaller) - distances.select(1, smaller);
      const bool attacked = apart >= silhouette_;
      if (!attacked) nearer = nearer - nearer.max().clamp_min(0) - 1e-6;
      suspicion.index_copy_(0, members, nearer.to(at::kFloat));
      log_info(data->classes()[static_cast<std::size_t>(c)] + ": silhouette " + std::to_string(apart) +
               ", smaller cluster " + std::to_string(smaller == 1 ? second : members.numel() - second) +
               " of " + std::to_string(members.numel()) + (attacked ? ", left out" : ""));
    }
    return suspicion;
  }

 private:
  std::int64_t components_ = 10;
  bool whiten_ = true;
  double silhouette_ = 0.1;
};

}  // namespace

std::unique_ptr<Defense> make_activation_clustering() { return std::make_unique<ActivationClustering>(); }

}  // namespace mcci
