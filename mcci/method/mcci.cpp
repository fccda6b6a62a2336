#include "mcci/method/mcci.hpp"

#include <cmath>

#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/method/folding.hpp"
#include "mcci/method/inference_control.hpp"
#include "mcci/method/intervention.hpp"
#include "mcci/method/mind_control_model.hpp"
#include "mcci/train/recipes.hpp"
#include "mcci/train/sample_state.hpp"

namespace mcci {
namespace {

namespace F = torch::nn::functional;

const Registry<Indicator>& indicators() {
  static const Registry<Indicator> table(
      "indicator", {{"raw", "the DCT, unscaled", Indicator::raw},
                    {"log", "its logarithm, with sign", Indicator::log},
                    {"high-band", "its high frequencies, in pixels", Indicator::high_band}});
  return table;
}

struct McciOptions {
  std::int64_t head_start_epochs = 0;
  std::int64_t head_start_images = 0;
  double head_start_lr = 0.05;
  std::int64_t ain_width = 0;
  std::int64_t embedding = 100;
  std::string indicator = "raw";
  std::string fake_indicator = "robust-centre";
  std::vector<std::string> clean_images;
  InterventionOptions intervention;
  double prior = 0.3;
  double posterior_threshold = 0.7;

  void declare(OptionSet& set) {
    set.add("head-start-epochs", head_start_epochs,
            "epochs that the AIN trains alone before the SFRN; 0 trains both together (paper: 0)", {0, 1000});
    set.add("head-start-images", head_start_images, "images in each of these epochs; 0: all",
            {0, 1000000000});
    set.add("head-start-lr", head_start_lr, "learning rate of the head start", {1e-8, 100.0});
    set.add("ain-width", ain_width, "channels of the AIN's first convolution; 0: the paper's", {0, 1024});
    set.add("embedding", embedding, "size of z and of z_f (paper: 100)", {1, 4096});
    set.add("indicator", indicator, "how the AIN is shown the spectrum (paper: raw)", indicators().names());
    set.add("fake-indicator", fake_indicator,
            "shown at inference: a robust centre over the training set, or the mean spectrum of clean images "
            "(paper)",
            {"robust-centre", "clean-images"});
    set.add("clean-images", clean_images,
            "files or folders of images known to be clean; one image is enough");
    intervention.declare(set);
    set.add("prior", prior, "share of attacked samples that is expected before looking", {0.001, 0.999});
    set.add("posterior-threshold", posterior_threshold,
            "from which a sample is held to be attacked once the SFRN has an opinion", {0.01, 0.999});
  }
};

constexpr std::size_t head_start_phase = 0;  // the phase's index where there is a head start

class Mcci : public Defense {
 public:
  void declare(OptionSet& set) override { options_.declare(set); }

  const Registry<Json>& presets() const override {
    static const Registry<Json> table = [] {
      Json paper = recipes().at("paper");
      paper.update({{"head-start-epochs", 0}, {"ain-width", 0}, {"embedding", 100}, {"indicator", "raw"}});
      Json fast = recipes().at("fast");
      fast.update({{"head-start-epochs", 1},
                   {"head-start-images", 12800},
                   {"ain-width", 8},
                   {"indicator", "high-band"},
                   {"intervention-trials", 6},
                   {"intervention-agreement", 0.5}});
      return Registry<Json>("preset",
                            {{"paper", "the paper's model and training", paper},
                             {"fast", "head start, interventional test, conditioned training", fast}});
    }();
    return table;
  }

  void build(const Problem& problem) override {
    problem_ = problem;
    MindControlOptions model;
    model.backbone = problem.backbone;
    model.shape = problem.shape;
    model.num_classes = problem.num_classes;
    model.embedding = options_.embedding;
    model.ain_width = options_.ain_width;
    model.indicator = indicators().at(options_.indicator);
    torch::manual_seed(derive_seed(problem.seed, "weights"));
    model_ = MindControlModel(model, problem.compute);
  }

  torch::nn::Module& module() override { return *model_; }

  std::vector<Phase> phases(const TrainOptions& options) override {
    if (!has_head_start()) return {make_phase("joint", parameter_list(*model_), options)};
    Phase head_start = make_phase("head start", parameters("ain", "indicator_head"), options);
    head_start.epochs = options_.head_start_epochs;
    head_start.images = options_.head_start_images;
    head_start.optimizer.lr = options_.head_start_lr;
    head_start.schedule.schedule = "constant";
    // The AIN sees images as they are: the SFRN's augmentation then makes a fixed trigger harder for the SFRN
    // alone.
    head_start.augment = AugmentOptions::none();
    return {head_start, make_phase("conditioned", parameters("sfrn", "semantic_head"), options)};
  }

  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    if (!has_head_start() || phase == head_start_phase) return;
    const torch::NoGradGuard no_grad;
    if (epoch == 0) {
      intervene(data);
    } else {
      update_posterior(data);
    }
    log_info("held to be attacked: " + std::to_string(posterior_.sum().item<std::int64_t>()) + " of " +
             std::to_string(data->size()) + " images");
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    if (has_head_start() && phase == head_start_phase) {
      const torch::Tensor logits = own_logits(batch.images);
      return {F::cross_entropy(logits, batch.labels), logits};
    }
    const torch::Tensor semantic = semantic_logits(batch.images);
    if (!has_head_start()) {
      const torch::Tensor logits = semantic + own_logits(batch.images);
      return {F::cross_entropy(logits, batch.labels), logits};
    }
    const torch::Tensor logits = semantic + shown_logits(batch.indices);
    return {F::cross_entropy(logits, batch.labels) + negative_evidence(semantic, batch), logits};
  }

  void finish(const DatasetPtr& data) override {
    if (has_head_start()) return;
    const torch::NoGradGuard no_grad;
    estimate_reference_indicators(model_, data, problem_.compute);
    if (options_.fake_indicator == "clean-images") model_->clean_indicator.copy_(clean_centre(data));
  }

  TensorList extra_state() override { return saved_state(sample_state()); }

  void set_extra_state(const TensorList& tensors, const std::string& /*where*/) override {
    restore_state(sample_state(), tensors, problem_.compute.device);
  }

  at::Tensor logits(const at::Tensor& images, Perception perception) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    const torch::Tensor semantic = semantic_logits(images);
    return semantic + model_->indicator_logits(shown_indicator(images, perception));
  }

  // [z ; z_f], with the z_f that the perception presents.
  at::Tensor embedding(const at::Tensor& images, Perception perception) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    const torch::Tensor z = model_->semantic_embedding(images);
    return torch::cat({z, shown_indicator(images, perception).expand_as(z)}, 1);
  }

  std::int64_t indicator_size() const override { return options_.embedding; }

  bool has_suspicion() const override { return true; }

  at::Tensor suspicion(const at::Tensor& images, const at::Tensor& labels) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    return indicator_evidence(model_, model_->semantic_embedding(images),
                              model_->indicator_embedding(model_->spectrum(images)), labels);
  }

  // The own indicator makes the label ten times as likely as the fake one does.
  double suspicion_threshold() const override { return std::log(10.0); }

  std::shared_ptr<Backbone> folded() override { return fold(model_); }

 private:
  bool has_head_start() const { return options_.head_start_epochs > 0; }

  SampleState sample_state() {
    return {{"posterior", &posterior_},
            {"rejected", &rejected_},
            {"meant", &meant_},
            {"own_logits", &own_logits_}};
  }

  // The parameters of two of the model's children.
  TensorList parameters(const std::string& first, const std::string& second) {
    TensorList list;
    for (const auto& [name, tensor] : parameter_list(*model_)) {
      if (name.rfind(first + ".", 0) == 0 || name.rfind(second + ".", 0) == 0)
        list.emplace_back(name, tensor);
    }
    return list;
  }

  torch::Tensor semantic_logits(const torch::Tensor& images) {
    return model_->semantic_logits(model_->semantic_embedding(images));
  }

  torch::Tensor own_logits(const torch::Tensor& images) {
    return model_->indicator_logits(model_->indicator_embedding(model_->spectrum(images)));
  }

  // z_f [B, embedding] or [embedding].
  torch::Tensor shown_indicator(const torch::Tensor& images, Perception perception) {
    switch (perception) {
      case Perception::clean:
        return model_->clean_indicator;
      case Perception::own:
        return model_->indicator_embedding(model_->spectrum(images));
      case Perception::attacked:
        return model_->attacked_indicator;
    }
    throw Error(ErrorKind::internal, "unknown perception");
  }

  torch::Tensor fake_logits() { return model_->indicator_logits(model_->clean_indicator); }

  // W2 (z_f* + r (z_f - z_f*)): attacked samples are shown their own indicator, all others the fake one. The
  // AIN is frozen, so this is a constant of each sample.
  torch::Tensor shown_logits(const torch::Tensor& indices) {
    const torch::NoGradGuard no_grad;
    const torch::Tensor fake = fake_logits();
    return fake +
           posterior_.index_select(0, indices).unsqueeze(1) * (own_logits_.index_select(0, indices) - fake);
  }

  // For attacked samples -log(1 - p(y | x, fake)): the recorded label is not what the image means. Few
  // attacked samples that were missed would teach a convolutional SFRN the trigger; these outvote them.
  // Bounded, unlike gradient ascent.
  torch::Tensor negative_evidence(const torch::Tensor& semantic, const Batch& batch) {
    const torch::Tensor meant =
        (semantic + fake_logits().detach()).softmax(1).gather(1, batch.labels.unsqueeze(1)).squeeze(1);
    const torch::Tensor weight = rejected_.index_select(0, batch.indices);
    return (weight * -torch::log1p(-meant.clamp_max(1 - 1e-4))).mean();
  }

  // The first guess, from the AIN alone: who is attacked, and what "attacked" and "not attacked" look like.
  void intervene(const DatasetPtr& data) {
    const torch::Tensor followed =
        label_follows(model_, data, problem_.compute, options_.intervention, problem_.seed);
    const torch::Tensor own = indicator_embeddings(model_, data, problem_.compute);
    model_->clean_indicator.copy_(
        options_.fake_indicator == "clean-images"
            ? clean_centre(data)
            : least_suspicious_centre(own, data->labels(), followed, data->num_classes()));
    model_->attacked_indicator.copy_(most_suspicious_centre(own, followed));
    own_logits_ = model_->indicator_logits(own.to(problem_.compute.device));
    posterior_ =
        followed.ge(options_.intervention.agreement - 1e-6).to(problem_.compute.device, torch::kFloat);
    rejected_ = torch::zeros_like(posterior_);  // too many are clean yet to argue against their labels
  }

  // Once the SFRN has an opinion: a sample is held to be attacked if its indicator explains the recorded
  // label and its meaning does not, by Bayes' rule P(A | x, y) = pi p_AIN(y) / (pi p_AIN(y) + (1 - pi)
  // p_SFRN(y)). p_SFRN is averaged over the epochs, half of it the latest: what the SFRN once knew of a
  // sample it does not forget at once.
  void update_posterior(const DatasetPtr& data) {
    const torch::Device device = problem_.compute.device;
    const torch::Tensor semantic =
        model_->semantic_logits(semantic_embeddings(model_, data, problem_.compute).to(device));
    const torch::Tensor labels = data->labels().to(device).unsqueeze(1);
    const auto likelihood = [&](const torch::Tensor& logits) {
      return logits.softmax(1).gather(1, labels).squeeze(1);
    };
    const torch::Tensor now = likelihood(semantic + fake_logits());
    meant_ = meant_.defined() ? 0.5 * (meant_ + now) : now;
    const torch::Tensor attacked = likelihood(own_logits_) * options_.prior;
    const torch::Tensor meant = meant_ * (1 - options_.prior);
    posterior_ =
        (attacked / (attacked + meant).clamp_min(1e-12)).ge(options_.posterior_threshold).to(torch::kFloat);
    rejected_ = posterior_;
  }

  torch::Tensor clean_centre(const DatasetPtr& data) {
    if (options_.clean_images.empty()) {
      throw Error(ErrorKind::usage, "--fake-indicator clean-images needs the images", "--clean-images",
                  "name files or folders, none of them from the test set");
    }
    const std::vector<std::filesystem::path> paths(options_.clean_images.begin(),
                                                   options_.clean_images.end());
    return clean_image_centre(model_, open_images(paths, data->shape(), data->classes()), problem_.compute);
  }

  McciOptions options_;
  Problem problem_;
  MindControlModel model_{nullptr};
  torch::Tensor posterior_;  // [N] float32, on the device: is sample i held to be attacked?
  torch::Tensor rejected_;   // [N] float32, on the device: is its recorded label argued against?
  torch::Tensor
      meant_;  // [N] float32, on the device: p_SFRN of the recorded label, averaged; undefined at first
  torch::Tensor own_logits_;  // [N, classes] float32, on the device: what the frozen AIN says of each sample
};

}  // namespace

std::unique_ptr<Defense> make_mcci() { return std::make_unique<Mcci>(); }

}  // namespace mcci
