#include "mcci/baselines/nab.hpp"

#include <algorithm>

#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/baselines/clustering.hpp"
#include "mcci/baselines/contrastive.hpp"
#include "mcci/baselines/isolation.hpp"
#include "mcci/baselines/stamp.hpp"
#include "mcci/core/log.hpp"
#include "mcci/train/recipes.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

enum PhaseIndex : std::size_t { isolation_phase, relabelling_phase, training_phase };

class Nab : public StampingDefense {
 public:
  Nab() : StampingDefense("nab") {}

  void declare(OptionSet& set) override {
    clean_.declare(set);
    isolation_.declare(set);
    set.add(
        "relabel-by", relabel_by_,
        "where the isolated samples' new labels come from: a network that learns from clean images, or the "
        "nearest centres of features that SimCLR learns from the set itself",
        {"verifier", "centres"});
    set.add("verifier-epochs", verifier_epochs_,
            "epochs, over the clean images, of the network that relabels", {1, 100000});
    self_supervision_.declare(set);
    set.add("stamp-size", stamp_size_, "pixels a side of the stamp, in the top-left corner", {1, 64});
  }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = [] {
      const Json own = {{"isolation-level", 0.5},   {"isolation-loss", "lga"},     {"isolation-share", 0.05},
                        {"relabel-by", "verifier"}, {"contrast-temperature", 0.5}, {"stamp-size", 2}};
      Json paper = {{"epochs", 100},
                    {"optimizer", "sgd"},
                    {"lr", 0.1},
                    {"momentum", 0.9},
                    {"weight-decay", 1e-4},
                    {"schedule", "one-cycle"},
                    {"warmup", 0.0},
                    {"batch-size", 64},
                    {"flip", true},
                    {"crop-pad", 4},
                    {"isolation-epochs", 20},
                    {"isolation-lr", 0.1},
                    {"verifier-epochs", 100},
                    {"self-supervised-epochs", 100},
                    {"self-supervised-lr", 0.4}};
      paper.update(own);
      Json fast = recipes().at("fast");
      fast.update({{"isolation-epochs", 3},
                   {"isolation-lr", 0.02},
                   {"verifier-epochs", 20},
                   {"self-supervised-epochs", 4},
                   {"self-supervised-lr", 0.2}});
      fast.update(own);
      return Registry<Json>("preset", {{"paper", "the authors' program", paper},
                                       {"fast", "the short recipe, three epochs before it", fast}});
    }();
    return table;
  }

  std::string assumes() const override { return verifies() ? "clean images with labels" : ""; }
  const CleanDataOptions* clean_data() const override { return &clean_; }

  void build(const Problem& problem) override {
    BackboneDefense::build(problem);
    isolator_ = add("isolator", make_network());
    relabeller_ = add("relabeller", make_network());
    if (!verifies()) {
      projection_ = add("projection", projection_head(feature_size(*relabeller_)).ptr());
    }
    colour_ = add_buffer("stamp_colour", torch::zeros({problem.shape.channels}));
  }

  std::vector<Phase> phases(const TrainOptions& options) override {
    strong_ = simclr_views(options.augment.flip);
    return {isolation_.phase(parameter_list(*isolator_), options), relabelling(options),
            make_phase("training", parameter_list(backbone()), options)};
  }

  DatasetPtr source(std::size_t phase, const DatasetPtr& data) override {
    return phase == relabelling_phase && verifies() ? clean_images() : data;
  }

  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    if (phase != training_phase || epoch > 0) return;
    const torch::NoGradGuard no_grad;
    const at::Tensor scores = sample_losses(*isolator_, data, problem().compute).neg();
    suspicion_of_samples_ = flag_highest(scores, isolation_.isolation_share);
    const at::Tensor isolated = suspicion_of_samples_.ge(0);
    taught_ = torch::where(isolated, new_labels(data, scores), data->labels());
    stamped_ = taught_.ne(data->labels());
    const at::Tensor colours = of_every_sample(data, problem().compute, [](const at::Tensor& images) {
      return images.mean({2, 3});
    });
    colour_.copy_(colours.mean(0));
    log_info("isolated: " + std::to_string(isolated.sum().item<std::int64_t>()) +
             ", relabelled and stamped: " + std::to_string(stamped_.sum().item<std::int64_t>()) + " of " +
             std::to_string(data->size()) + " images");
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    if (phase == isolation_phase) return isolation_.held_up(plain_loss(*isolator_, batch));
    if (phase == relabelling_phase) {
      return verifies() ? plain_loss(*relabeller_, batch)
                        : self_supervision_.loss(
                              [this](const at::Tensor& images) {
                                return projection_->forward(
                                    features(*relabeller_, place(images, problem().compute)));
                              },
                              batch.images, strong_);
    }
    const at::Tensor indices = batch.indices.cpu();
    const at::Tensor stamps = stamped_.index_select(0, indices).to(batch.images.device()).view({-1, 1, 1, 1});
    const at::Tensor labels = taught_.index_select(0, indices).to(batch.labels.device());
    const at::Tensor images = torch::where(stamps, with_stamp(batch.images), batch.images);
    const at::Tensor logits = forward(backbone(), place(images, problem().compute));
    return {torch::nn::functional::cross_entropy(logits, labels), logits};
  }

 protected:
  at::Tensor with_stamp(const at::Tensor& images) const override {
    return stamped(images, stamp_size_, colour_);
  }

  SampleState sample_state() override {
    SampleState state = BackboneDefense::sample_state();
    state.emplace_back("taught", &taught_);
    state.emplace_back("stamped", &stamped_);
    return state;
  }

 private:
  bool verifies() const { return relabel_by_ == "verifier"; }

  Phase relabelling(const TrainOptions& options) const {
    if (!verifies()) return self_supervision_.phase(with_projection(*relabeller_, *projection_), options);
    Phase phase = make_phase("verifier", parameter_list(*relabeller_), options);
    phase.epochs = verifier_epochs_;
    return phase;
  }

  // What the relabeller takes each sample for: [N] int64. Centres leave out twice as many samples as are
  // isolated, since poison among them would draw its label's centre away.
  at::Tensor new_labels(const DatasetPtr& data, const at::Tensor& scores) {
    relabeller_->eval();
    if (verifies()) {
      return of_every_sample(data, problem().compute, [&](const at::Tensor& images) {
        return forward(*relabeller_, images).argmax(1);
      });
    }
    const at::Tensor seen = of_every_sample(
        data, problem().compute, [&](const at::Tensor& images) { return features(*relabeller_, images); });
    const at::Tensor counted = flag_highest(scores, std::min(1.0, 2 * isolation_.isolation_share)).lt(0);
    return nearest_centres(seen, data->labels(), counted, problem().num_classes);
  }

  CleanDataOptions clean_;
  IsolationOptions isolation_;
  std::string relabel_by_ = "verifier";
  std::int64_t verifier_epochs_ = 100;
  SelfSupervisionOptions self_supervision_;
  ViewOptions strong_;
  std::int64_t stamp_size_ = 2;
  std::shared_ptr<Backbone> isolator_;
  std::shared_ptr<Backbone> relabeller_;
  std::shared_ptr<torch::nn::SequentialImpl> projection_;  // null: the relabeller verifies
  at::Tensor colour_;                                      // [C]: the mean colour of the training set
  at::Tensor taught_;                                      // [N] int64 on the CPU: the labels of the training
  at::Tensor stamped_;                                     // [N] bool on the CPU: which images bear the stamp
};

}  // namespace

std::unique_ptr<Defense> make_nab() { return std::make_unique<Nab>(); }

}  // namespace mcci
