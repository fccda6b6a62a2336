#include "mcci/baselines/activation_clustering.hpp"

#include <ATen/ATen.h>

#include "mcci/baselines/clustering.hpp"
#include "mcci/baselines/filter.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"

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
    static const Registry<Json> table =
        probe_presets("clusters and silhouette", {{"components", 10}, {"whiten", true}, {"silhouette", 0.1}},
                      {{"probe-epochs", 2}});
    return table;
  }

 protected:
  at::Tensor judge(const DatasetPtr& data) override {
    return judge_classes(data, [&](std::int64_t label, const at::Tensor& features) {
      return judge_class(label, data->classes()[static_cast<std::size_t>(label)], features);
    });
  }

 private:
  at::Tensor judge_class(std::int64_t label, const std::string& name, const at::Tensor& features) const {
    const at::Tensor points = principal_components(features, components_, whiten_);
    const std::uint64_t seed =
        derive_seed(problem().seed, "activation clustering", {static_cast<std::uint64_t>(label)});
    const TwoClusters clusters = two_means(points, seed);
    const double apart = silhouette(points, clusters.assignment);
    const std::int64_t members = points.size(0);
    const std::int64_t second = clusters.assignment.sum().item<std::int64_t>();
    const std::int64_t smaller = 2 * second <= members ? 1 : 0;
    // How much nearer to the smaller cluster's centre than to the other's: its sign is the assignment.
    const at::Tensor distances = (points.unsqueeze(1) - clusters.centres.unsqueeze(0)).square().sum(2).sqrt();
    at::Tensor nearer = distances.select(1, 1 - smaller) - distances.select(1, smaller);
    const bool attacked = apart >= silhouette_;
    if (!attacked) nearer = nearer - nearer.max().clamp_min(0) - 1e-6;
    log_info(name + ": silhouette " + std::to_string(apart) + ", smaller cluster " +
             std::to_string(smaller == 1 ? second : members - second) + " of " + std::to_string(members) +
             (attacked ? ", left out" : ""));
    return nearer;
  }

  std::int64_t components_ = 10;
  bool whiten_ = true;
  double silhouette_ = 0.1;
};

}  // namespace

std::unique_ptr<Defense> make_activation_clustering() { return std::make_unique<ActivationClustering>(); }

}  // namespace mcci
