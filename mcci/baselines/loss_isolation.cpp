#include "mcci/baselines/loss_isolation.hpp"

#include "mcci/baselines/filter.hpp"
#include "mcci/baselines/isolation.hpp"

namespace mcci {
namespace {

class LossIsolation : public FilterDefense {
 public:
  void declare(OptionSet& set) override { isolation_.declare(set); }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = presets_with(
        {{"isolation-loss", "flooding"}, {"isolation-level", 0.5}, {"isolation-share", 0.1}},
        "ABL's isolation, ten times its share", {{"isolation-epochs", 10}, {"isolation-lr", 0.1}},
        "the short recipe, three epochs before it", {{"isolation-epochs", 3}, {"isolation-lr", 0.05}});
    return table;
  }

  void build(const Problem& problem) override {
    FilterDefense::build(problem);
    probe_ = add("probe", make_network());
  }

 protected:
  Phase detector(const TrainOptions& options) override {
    return isolation_.phase(parameter_list(*probe_), options);
  }

  StepOutput detector_loss(const Batch& batch) override {
    return isolation_.held_up(plain_loss(*probe_, batch));
  }

  at::Tensor judge(const DatasetPtr& data) override {
    return flag_highest(sample_losses(*probe_, data, problem().compute).neg(), isolation_.isolation_share);
  }

 private:
  IsolationOptions isolation_;
  std::shared_ptr<Backbone> probe_;
};

}  // namespace

std::unique_ptr<Defense> make_loss_isolation() { return std::make_unique<LossIsolation>(); }

}  // namespace mcci
