#include "mcci/method/robust.hpp"

#include <cmath>

#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/method/attack_indication_network.hpp"
#include "mcci/method/contradiction.hpp"
#include "mcci/method/keyholes.hpp"
#include "mcci/method/spectrum.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/train/recipes.hpp"
#include "mcci/train/sample_state.hpp"

namespace mcci {
namespace {

namespace F = torch::nn::functional;

constexpr std::int64_t batch_images = 500;
constexpr double evidence_limit = 6;  // of the AIN alone, in nats: it is sure of more than it can know
constexpr double out_of_question = -20;

enum PhaseIndex : std::size_t { keyholes_phase, indicator_phase, conditioned_phase };

struct RobustOptions {
  std::int64_t keyhole_epochs = 2;
  std::int64_t keyhole_images = 20000;
  double keyhole_confidence = 0.7;
  std::int64_t indicator_epochs = 3;
  std::int64_t ain_width = 8;
  std::int64_t embedding = 100;
  double prior = 0.12;
  double recovery_confidence = 0.8;

  void declare(OptionSet& set) {
    set.add("keyhole-epochs", keyhole_epochs, "epochs of the keyholes", {1, 1000});
    set.add("keyhole-images", keyhole_images, "images in each of them; 0: all", {0, 1000000000});
    set.add("keyhole-confidence", keyhole_confidence,
            "of a keyhole in the class that it sees, for its word to count", {0.1, 1.0});
    set.add("indicator-epochs", indicator_epochs, "epochs in which the AIN learns to tell attacked images",
            {1, 1000});
    set.add("ain-width", ain_width, "channels of the AIN's first convolution; 0: the paper's", {0, 1024});
    set.add("embedding", embedding, "size of z_f (paper: 100)", {1, 4096});
    set.add("prior", prior, "share of attacked samples among those of an attacked label, before looking",
            {0.001, 0.999});
    set.add("recovery-confidence", recovery_confidence,
            "of the SFRN in another class, from which an attacked image is given that label", {0.1, 1.0});
  }
};

// SFRN, keyholes and AIN, and what was found out about the attack.
class RobustModelImpl : public torch::nn::Module {
 public:
  RobustModelImpl(const Problem& problem, const RobustOptions& options)
      : sfrn(register_module("sfrn", make_backbone(problem.backbone))),
        keyholes(register_module("keyholes", Keyholes(problem.shape.channels, problem.num_classes))),
        ain(register_module("ain",
                            AttackIndicationNetwork(AttackIndicationOptions{
                                {2 * problem.shape.channels, problem.shape.height, problem.shape.width},
                                options.embedding,
                                options.ain_width}))),
        indicator_head(register_module("indicator_head", torch::nn::Linear(options.embedding, 1))),
        transition(register_buffer("transition", torch::zeros({problem.num_classes, problem.num_classes}))),
        attacked(register_buffer("attacked", torch::zeros({problem.num_classes}))),
        clean_indicator(register_buffer("clean_indicator", torch::zeros({options.embedding}))),
        attacked_indicator(register_buffer("attacked_indicator", torch::zeros({options.embedding}))),
        compute_(problem.compute) {
    place(*this, compute_);
  }

  torch::Tensor semantic_logits(const torch::Tensor& images) {
    const Autocast autocast(compute_);
    return sfrn->forward(images).to(torch::kFloat);
  }

  torch::Tensor indicator_embedding(const torch::Tensor& images) {
    const Autocast autocast(compute_);
    return ain->forward(place(attack_indicator(images, Indicator::bands), compute_)).to(torch::kFloat);
  }

  // Log odds of an attack, [B], as learned from as many attacked images as clean ones.
  torch::Tensor evidence(const torch::Tensor& z_f) { return indicator_head->forward(z_f).squeeze(1); }

  std::shared_ptr<Backbone> sfrn;
  Keyholes keyholes{nullptr};
  AttackIndicationNetwork ain{nullptr};
  torch::nn::Linear indicator_head{nullptr};
  torch::Tensor transition;  // [C, C]: T
  torch::Tensor attacked;    // [C]: 1 for a label that is attacked
  torch::Tensor clean_indicator;
  torch::Tensor attacked_indicator;

 private:
  Compute compute_;
};
TORCH_MODULE(RobustModel);

class RobustMcci : public Defense {
 public:
  void declare(OptionSet& set) override { options_.declare(set); }

  const Registry<Json>& presets() const override { return recipes(); }

  void build(const Problem& problem) override {
    problem_ = problem;
    problem_.backbone.outputs = problem.num_classes;
    torch::manual_seed(derive_seed(problem.seed, "weights"));
    model_ = RobustModel(problem_, options_);
  }

  torch::nn::Module& module() override { return *model_; }

  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase keyholes = make_phase("keyholes", parameter_list(*model_->keyholes), options);
    keyholes.epochs = options_.keyhole_epochs;
    keyholes.images = options_.keyhole_images;
    TensorList of_indicator = with_prefix_added(parameter_list(*model_->ain), "ain");
    for (auto& named : with_prefix_added(parameter_list(*model_->indicator_head), "indicator_head")) {
      of_indicator.push_back(std::move(named));
    }
    Phase indicator = make_phase("indicator", std::move(of_indicator), options);
    indicator.epochs = options_.indicator_epochs;
    for (Phase* phase : {&keyholes, &indicator}) {
      phase->optimizer = OptimizerOptions();
      phase->optimizer.lr = 0.05;
      phase->schedule = ScheduleOptions();
      phase->augment = AugmentOptions::none();
    }
    indicator.classifies = false;
    return {keyholes, indicator, make_phase("conditioned", parameter_list(*model_->sfrn), options)};
  }

  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    const torch::NoGradGuard no_grad;
    if (phase == indicator_phase && epoch == 0) find_contradictions(data);
    if (phase == conditioned_phase) {
      if (epoch == 0) {
        hold_out(data);
      } else {
        update_posterior(data);
      }
    }
  }

  torch::Tensor pool(std::size_t phase) override {
    return phase == indicator_phase ? examples_ : torch::Tensor();
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    if (phase == keyholes_phase) {
      const torch::Tensor logits = keyholes_in_training(model_->keyholes, batch.images);
      const torch::Tensor labels = batch.labels.repeat({Keyholes::Impl::count});
      const torch::Tensor each = F::cross_entropy(logits.flatten(0, 1), labels);
      return {each * static_cast<double>(Keyholes::Impl::count), logits[0]};
    }
    if (phase == indicator_phase) {
      const torch::Tensor evidence = model_->evidence(model_->indicator_embedding(batch.images));
      const torch::Tensor is_attacked = contradicted_.index_select(0, batch.indices);
      return {F::binary_cross_entropy_with_logits(evidence, is_attacked), {}};
    }
    const torch::Tensor logits = model_->semantic_logits(batch.images);
    const torch::Tensor log_p = logits.log_softmax(1);
    const torch::Tensor taught =
        log_p.gather(1, taught_.index_select(0, batch.indices).unsqueeze(1)).squeeze(1);
    const torch::Tensor recorded = log_p.gather(1, batch.labels.unsqueeze(1)).squeeze(1).exp();
    const torch::Tensor positive = weight_.index_select(0, batch.indices) * -taught;
    // -log(1 - p(y | x, fake)): the recorded label is not what the image means. Few attacked samples that
    // were missed would teach a convolutional SFRN the trigger; these outvote them. Bounded, unlike gradient
    // ascent.
    const torch::Tensor negative =
        rejected_.index_select(0, batch.indices) * -torch::log1p(-recorded.clamp_max(1 - 1e-4));
    return {(positive + negative).mean(), logits};
  }

  TensorList extra_state() override { return saved_state(sample_state()); }

  void set_extra_state(const TensorList& tensors, const std::string& /*where*/) override {
    restore_state(sample_state(), tensors, problem_.compute.device);
    if (examples_.defined()) examples_ = examples_.cpu();
  }

  at::Tensor logits(const at::Tensor& images, Perception perception) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    const torch::Tensor semantic = model_->semantic_logits(images);
    if (perception == Perception::clean || !attack_found()) return semantic;
    const torch::Tensor meant = semantic.softmax(1);
    const torch::Tensor a = perception == Perception::attacked
                                ? torch::ones({images.size(0), 1}, meant.options())
                                : (limited_evidence(images) + prior_log_odds()).sigmoid().unsqueeze(1);
    return ((1 - a) * meant + a * meant.mm(model_->transition)).clamp_min(1e-12).log();
  }

  at::Tensor embedding(const at::Tensor& images, Perception perception) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    const torch::Tensor z = model_->sfrn->features(images).to(torch::kFloat);
    torch::Tensor z_f;
    switch (perception) {
      case Perception::clean:
        z_f = model_->clean_indicator.expand({z.size(0), -1});
        break;
      case Perception::own:
        z_f = model_->indicator_embedding(images);
        break;
      case Perception::attacked:
        z_f = model_->attacked_indicator.expand({z.size(0), -1});
        break;
    }
    return torch::cat({z, z_f}, 1);
  }

  std::int64_t indicator_size() const override { return options_.embedding; }

  bool has_suspicion() const override { return true; }

  at::Tensor suspicion(const at::Tensor& images, const at::Tensor& labels) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    const torch::Tensor evidence = attack_found() ? limited_evidence(images) : torch::zeros({images.size(0)});
    return posterior_log_odds(evidence.to(images.device()), model_->semantic_logits(images).softmax(1),
                              labels);
  }

  double suspicion_threshold() const override { return 0; }

  std::shared_ptr<Backbone> folded() override {
    std::shared_ptr<Backbone> copy = make_backbone(problem_.backbone);
    load_module_state(*copy, module_state(*model_->sfrn), "folding");
    copy->eval();
    return copy;
  }

 private:
  SampleState sample_state() {
    return {{"contradicted", &contradicted_}, {"examples", &examples_}, {"doubted", &doubted_},
            {"evidence", &evidence_},         {"taught", &taught_},     {"weight", &weight_},
            {"rejected", &rejected_},         {"meant", &meant_}};
  }

  bool attack_found() const { return model_->attacked.sum().item<double>() > 0; }
  double prior_log_odds() const { return std::log(options_.prior / (1 - options_.prior)); }

  torch::Tensor limited_evidence(const torch::Tensor& images) {
    return model_->evidence(model_->indicator_embedding(images)).clamp(-evidence_limit, evidence_limit);
  }

  // Log odds that a sample is attacked, by Bayes' rule: the prior; what the spectrum says; and whether the
  // recorded label is what an attacker would have written or what the image means. evidence [B], meant [B, C]
  // the SFRN's probabilities, labels [B] -> [B].
  torch::Tensor posterior_log_odds(const torch::Tensor& evidence, const torch::Tensor& meant,
                                   const torch::Tensor& labels) {
    const torch::Tensor column = labels.unsqueeze(1);
    const torch::Tensor if_attacked = meant.mm(model_->transition).gather(1, column).squeeze(1);
    const torch::Tensor if_clean = meant.gather(1, column).squeeze(1);
    const torch::Tensor odds =
        evidence + prior_log_odds() + if_attacked.clamp_min(1e-3).log() - if_clean.clamp_min(1e-3).log();
    return torch::where(model_->attacked.index_select(0, labels) > 0, odds, if_clean.neg() + out_of_question);
  }

  void find_contradictions(const DatasetPtr& data) {
    const torch::Tensor opinions = keyhole_opinions(model_->keyholes, data, problem_.compute);
    const torch::Tensor labels = data->labels();
    const Contradiction found = contradictions(opinions, labels, options_.keyhole_confidence);
    const torch::Device device = problem_.compute.device;

    model_->attacked.zero_();
    for (const std::int64_t label : found.attacked_labels) model_->attacked[label] = 1;
    torch::Tensor transition = torch::full({data->num_classes(), data->num_classes()}, 1e-3);
    const torch::Tensor attacked = found.contradicted.nonzero().squeeze(1);
    const auto meaning = found.meaning.accessor<std::int64_t, 1>();
    for (const torch::Tensor& index : attacked.unbind()) {
      const auto i = index.item<std::int64_t>();
      transition[meaning[i]][labels[i].item<std::int64_t>()] += 1;
    }
    // A class of which no attacked image was seen is treated as the others are.
    transition += transition.sum(0, /*keepdim=*/true) / transition.sum();
    model_->transition.copy_(transition / transition.sum(1, /*keepdim=*/true));

    contradicted_ = found.contradicted.to(device, torch::kFloat);
    doubted_ = opinions.mean(0).gather(1, labels.unsqueeze(1)).squeeze(1).lt(0.5).to(device);
    choose_examples(attacked, found.confirmed.nonzero().squeeze(1));
    std::string names;
    for (const std::int64_t label : found.attacked_labels) {
      names += (names.empty() ? "" : ", ") + data->classes()[static_cast<std::size_t>(label)];
    }
    log_info(names.empty() ? "no label is contradicted as an attack would"
                           : "labels that look attacked: " + names + "; contradicted by their meaning: " +
                                 std::to_string(attacked.numel()) + " images");
  }

  // As many attacked examples as confirmed ones, by repeating the fewer.
  void choose_examples(const torch::Tensor& attacked, const torch::Tensor& confirmed) {
    if (attacked.numel() == 0) {
      examples_ = confirmed.narrow(0, 0, std::min<std::int64_t>(confirmed.numel(), 2));
      return;
    }
    constexpr std::int64_t confirmed_per_attacked = 4;
    constexpr std::int64_t least_confirmed = 2000;
    const std::int64_t wanted = std::max(least_confirmed, confirmed_per_attacked * attacked.numel());
    const torch::Tensor order = epoch_order(confirmed.numel(), problem_.seed, 0);
    const torch::Tensor some =
        confirmed.index_select(0, order.narrow(0, 0, std::min(wanted, confirmed.numel())));
    const std::int64_t repeats = std::max<std::int64_t>(1, some.numel() / attacked.numel());
    examples_ = torch::cat({attacked.repeat({repeats}), some});
  }

  // Before the SFRN has an opinion: whatever may be attacked stays out of its first epoch.
  void hold_out(const DatasetPtr& data) {
    const torch::Tensor labels = data->labels().to(problem_.compute.device);
    taught_ = labels;
    rejected_ = torch::zeros_like(contradicted_);
    weight_ = torch::ones_like(contradicted_);
    if (!attack_found()) return;
    model_->eval();
    std::vector<torch::Tensor> parts;
    torch::Tensor clean_sum = torch::zeros_like(model_->clean_indicator);
    torch::Tensor attacked_sum = torch::zeros_like(model_->attacked_indicator);
    for_each_batch(data, batch_images, [&](const Batch& batch) {
      const torch::Tensor z_f = model_->indicator_embedding(place(batch.images, problem_.compute));
      parts.push_back(model_->evidence(z_f).clamp(-evidence_limit, evidence_limit));
      const torch::Tensor is_attacked = parts.back().gt(0).to(torch::kFloat);
      attacked_sum += is_attacked.matmul(z_f);
      clean_sum += (1 - is_attacked).matmul(z_f);
    });
    evidence_ = torch::cat(parts);
    const double attacked = evidence_.gt(0).sum().item<double>();
    model_->attacked_indicator.copy_(attacked_sum / std::max(1.0, attacked));
    model_->clean_indicator.copy_(clean_sum / std::max(1.0, static_cast<double>(data->size()) - attacked));

    const torch::Tensor of_attacked_label = model_->attacked.index_select(0, labels).gt(0);
    const torch::Tensor held =
        of_attacked_label.logical_and(evidence_.gt(prior_log_odds()).logical_or(doubted_));
    weight_ = held.logical_not().to(torch::kFloat);
    log_info("left out of the first epoch: " + std::to_string(held.sum().item<std::int64_t>()) + " images");
  }

  // Once the SFRN has an opinion: attacked samples are argued against, or given the label that the SFRN is
  // sure of; what remains in doubt is left out. The opinion is averaged over the epochs, half of it the
  // latest: what the SFRN once knew of a sample it does not forget at once.
  void update_posterior(const DatasetPtr& data) {
    if (!attack_found()) return;
    model_->eval();
    std::vector<torch::Tensor> parts;
    for_each_batch(data, batch_images, [&](const Batch& batch) {
      parts.push_back(model_->semantic_logits(place(batch.images, problem_.compute)).softmax(1));
    });
    const torch::Tensor now = torch::cat(parts);
    meant_ = meant_.defined() ? 0.5 * (meant_ + now) : now;
    const torch::Tensor labels = data->labels().to(problem_.compute.device);
    const torch::Tensor odds = posterior_log_odds(evidence_, meant_, labels);
    const auto [confidence, meaning] = meant_.max(1);
    const torch::Tensor attacked = odds.gt(0);
    const torch::Tensor mislabelled = attacked.logical_and(meaning.ne(labels));
    const torch::Tensor recovered = mislabelled.logical_and(confidence.gt(options_.recovery_confidence));
    rejected_ = mislabelled.to(torch::kFloat);
    taught_ = torch::where(recovered, meaning, labels);
    weight_ = odds.le(-1).logical_or(recovered).to(torch::kFloat);
    log_info("held to be attacked: " + std::to_string(attacked.sum().item<std::int64_t>()) + " of " +
             std::to_string(data->size()) +
             " images; labels recovered: " + std::to_string(recovered.sum().item<std::int64_t>()));
  }

  RobustOptions options_;
  Problem problem_;
  RobustModel model_{nullptr};
  // Of each training sample, on the device.
  torch::Tensor contradicted_;  // [N] float32: 1 where its meaning contradicts its attacked label
  torch::Tensor doubted_;       // [N] bool: the keyholes do not see what its label says
  torch::Tensor evidence_;      // [N] float32: what its spectrum says, log odds
  torch::Tensor taught_;        // [N] int64: the label that the SFRN is taught
  torch::Tensor weight_;        // [N] float32: how much of it
  torch::Tensor rejected_;      // [N] float32: is the recorded label argued against?
  torch::Tensor meant_;         // [N, C] float32: the SFRN's opinion, averaged; undefined at first
  torch::Tensor examples_;      // [M] int64, on the CPU: what the AIN learns from, with repeats
};

}  // namespace

std::unique_ptr<Defense> make_robust_mcci() { return std::make_unique<RobustMcci>(); }

}  // namespace mcci
