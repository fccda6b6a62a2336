#include "mcci/method/mcci.hpp"

#include "mcci/method/joint.hpp"
#include "mcci/method/robust.hpp"
#include "mcci/train/recipes.hpp"

namespace mcci {
namespace {

// One of two ways to train, chosen by an option.
class Mcci : public Defense {
 public:
  void declare(OptionSet& set) override {
    set.add("training", training_,
            "of SFRN and AIN: the AIN first, then the SFRN conditioned on it, or both together",
            {"robust", "joint"});
    ain_.declare(set);
    robust_->declare(set);
    joint_->declare(set);
  }

  const Registry<Json>& presets() const override { return mcci_presets(); }

  void build(const Problem& problem) override { chosen().build(problem); }

  torch::nn::Module& module() override { return chosen().module(); }
  std::vector<Phase> phases(const TrainOptions& options) override { return chosen().phases(options); }
  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    chosen().begin_epoch(phase, epoch, data);
  }
  at::Tensor pool(std::size_t phase) override { return chosen().pool(phase); }
  StepOutput loss(std::size_t phase, const Batch& batch) override { return chosen().loss(phase, batch); }
  void finish(const DatasetPtr& data) override { chosen().finish(data); }
  TensorList extra_state() override { return chosen().extra_state(); }
  void set_extra_state(const TensorList& tensors, const std::string& where) override {
    chosen().set_extra_state(tensors, where);
  }

  at::Tensor logits(const at::Tensor& images, Perception perception) override {
    return chosen().logits(images, perception);
  }
  at::Tensor embedding(const at::Tensor& images, Perception perception) override {
    return chosen().embedding(images, perception);
  }
  std::int64_t indicator_size() const override { return ain_.embedding; }
  bool has_suspicion() const override { return true; }
  at::Tensor suspicion(const at::Tensor& images, const at::Tensor& labels) override {
    return chosen().suspicion(images, labels);
  }
  std::int64_t known_samples() const override { return chosen().known_samples(); }
  at::Tensor training_suspicion(const Batch& batch) override { return chosen().training_suspicion(batch); }
  double suspicion_threshold() const override { return chosen().suspicion_threshold(); }
  std::shared_ptr<Backbone> folded() override { return chosen().folded(); }

 private:
  Defense& chosen() const { return training_ == "joint" ? *joint_ : *robust_; }

  std::string training_ = "robust";
  AinOptions ain_;
  std::unique_ptr<Defense> robust_ = make_robust_mcci(ain_);
  std::unique_ptr<Defense> joint_ = make_joint_mcci(ain_);
};

}  // namespace

void AinOptions::declare(OptionSet& set) {
  set.add("ain-width", ain_width, "channels of the AIN's first convolution; 0: the paper's", {0, 1024});
  set.add("embedding", embedding, "size of z_f, and of z in joint training; even (paper: 100)", {2, 4096});
}

const Registry<Json>& mcci_presets() {
  static const Registry<Json> table = [] {
    Json robust = recipes().at("fast");
    robust.update({{"training", "robust"}, {"ain-width", 8}});
    Json paper = recipes().at("paper");
    paper.update({{"training", "joint"}, {"ain-width", 0}, {"embedding", 100}, {"indicator", "raw"}});
    return Registry<Json>("preset", {{"robust", "the AIN first, by a short recipe", robust},
                                     {"paper", "the paper's model and training", paper}});
  }();
  return table;
}

std::unique_ptr<Defense> make_mcci() { return std::make_unique<Mcci>(); }

}  // namespace mcci
