#include "mcci/method/robust.hpp"

#include <cmath>

#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/method/contradiction.hpp"
#include "mcci/method/keyholes.hpp"
#include "mcci/method/spectrum.hpp"
#include "mcci/method/witnesses.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/train/recipes.hpp"
#include "mcci/train/sample_state.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

namespace F = torch::nn::functional;

constexpr std::int64_t batch_images = 500;
constexpr double evidence_limit = 6;  // of the AIN alone, in nats: it is sure of more than it can know
constexpr double out_of_question = -20;
constexpr double surely_clean = -1;           // posterior log odds up to which a label is taught
constexpr std::int64_t most_examples = 4000;  // of either kind, that the witnesses learn from in an epoch
constexpr std::int64_t least_others = 2000;

torch::Tensor limited(const torch::Tensor& evidence) {
  return evidence.clamp(-evidence_limit, evidence_limit);
}

enum PhaseIndex : std::size_t { keyholes_phase, hearing_phase, indicator_phase, conditioned_phase };

struct RobustOptions {
  std::int64_t keyhole_epochs = 2;
  std::int64_t keyhole_images = 20000;
  double keyhole_confidence = 0.7;
  std::int64_t indicator_epochs = 3;
  std::int64_t ain_width = 8;
  std::int64_t embedding = 100;
  double marked_share = 0.33;
  double prior = 0.12;
  double recovery_confidence = 0.8;

  void declare(OptionSet& set) {
    set.add("keyhole-epochs", keyhole_epochs, "epochs of the keyholes", {1, 1000});
    set.add("keyhole-images", keyhole_images, "images in each of them; 0: all", {0, 1000000000});
    set.add("keyhole-confidence", keyhole_confidence,
            "of a keyhole in the class that it sees, for its word to count", {0.1, 1.0});
    set.add(
        "indicator-epochs", indicator_epochs,
        "epochs in which the AIN learns to tell attacked images, once from what contradicts its label and "
        "once from what of it bears a mark",
        {1, 1000});
    set.add("marked-share", marked_share,
            "of what contradicts a label, how much must bear the mark of an attack to call it attacked",
            {0.0, 1.0});
    set.add("ain-width", ain_width, "channels of the AIN's first convolution; 0: the paper's", {0, 1024});
    set.add("embedding", embedding, "size of z_f, an even number (paper: 100)", {2, 4096});
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
        ain(register_module("ain", Witnesses(AttackIndicationOptions{
                                       {8 * problem.shape.channels, (problem.shape.height + 1) / 2,
                                        (problem.shape.width + 1) / 2},
                                       options.embedding,
                                       options.ain_width}))),
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

  std::shared_ptr<Backbone> sfrn;
  Keyholes keyholes{nullptr};
  Witnesses ain{nullptr};
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
    Phase hearing = make_phase("hearing", parameter_list(*model_->ain), options);
    hearing.epochs = options_.indicator_epochs;
    hearing.classifies = false;
    Phase indicator = hearing;
    indicator.name = "indicator";
    for (Phase* phase : {&keyholes, &hearing, &indicator}) {
      phase->optimizer = OptimizerOptions();
      phase->optimizer.lr = 0.05;
      phase->schedule = ScheduleOptions();
      phase->augment = AugmentOptions::none();
    }
    return {keyholes, hearing, indicator, make_phase("conditioned", parameter_list(*model_->sfrn), options)};
  }

  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    const torch::NoGradGuard no_grad;
    if (phase == hearing_phase && epoch == 0) find_contradictions(data);
    if (phase == indicator_phase && epoch == 0) find_marks(data);
    if (phase == conditioned_phase) {
      if (epoch == 0) {
        hold_out(data);
      } else {
        update_posterior(data, epoch);
      }
    }
  }

  torch::Tensor pool(std::size_t phase) override {
    return phase == hearing_phase || phase == indicator_phase ? examples_ : torch::Tensor();
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    if (phase == keyholes_phase) {
      const torch::Tensor logits = keyholes_in_training(model_->keyholes, batch.images);
      const torch::Tensor labels = batch.labels.repeat({Keyholes::Impl::count});
      const torch::Tensor each = F::cross_entropy(logits.flatten(0, 1), labels);
      return {each * static_cast<double>(Keyholes::Impl::count), logits[0]};
    }
    if (phase == hearing_phase || phase == indicator_phase) {
      const torch::Tensor testimony = model_->ain->testimony(model_->indicator_embedding(batch.images));
      const torch::Tensor own = own_testimony(testimony, witness_.index_select(0, batch.indices));
      return {F::binary_cross_entropy_with_logits(own, accused_.index_select(0, batch.indices)), {}};
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

  TensorList extra_state() override {
    TensorList state = saved_state(sample_state());
    for (auto& named : saved_state(host_state())) state.push_back(std::move(named));
    return state;
  }

  void set_extra_state(const TensorList& tensors, const std::string& /*where*/) override {
    restore_state(sample_state(), tensors, problem_.compute.device);
    restore_state(host_state(), tensors, torch::kCPU);
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
    return {{"witness", &witness_}, {"accused", &accused_},   {"evidence", &evidence_}, {"taught", &taught_},
            {"weight", &weight_},   {"rejected", &rejected_}, {"meant", &meant_}};
  }
  SampleState host_state() {
    return {{"contradicted", &contradiction_.contradicted},
            {"confirmed", &contradiction_.confirmed},
            {"meaning", &contradiction_.meaning},
            {"examples", &examples_}};
  }

  bool attack_found() const { return model_->attacked.sum().item<double>() > 0; }
  double prior_log_odds() const { return std::log(options_.prior / (1 - options_.prior)); }

  // Of new images: both witnesses speak.
  torch::Tensor limited_evidence(const torch::Tensor& images) {
    return limited(model_->ain->testimony(model_->indicator_embedding(images)).mean(1));
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
    const torch::Device device = problem_.compute.device;
    contradiction_ = contradictions(opinions, labels, options_.keyhole_confidence);
    meant_ = opinions.mean(0).to(device);
    witness_ = witness_of(data->size(), derive_seed(problem_.seed, "witnesses")).to(device);
    accuse(contradiction_.contradicted, contradiction_.confirmed);
  }

  // What of the contradicted samples bears the mark of an attack; the witnesses are then heard on these
  // alone.
  void find_marks(const DatasetPtr& data) {
    hear(data);
    const Marks found = find_attack(data, options_.marked_share);
    std::string names;
    for (const std::int64_t label : found.attacked_labels) {
      names += (names.empty() ? "" : ", ") + data->classes()[static_cast<std::size_t>(label)];
    }
    log_info(names.empty() ? "no label is contradicted by images that bear the mark of an attack"
                           : "labels that look attacked: " + names + "; contradicted by marked images: " +
                                 std::to_string(found.marked.sum().item<std::int64_t>()));
    // What contradicts other labels is a mistake: difficult images, which are no mark. Images of the
    // attacker's own class bear the mark without being contradicted: they are no examples of either kind.
    const torch::Tensor of_attacked_label = model_->attacked.cpu().index_select(0, data->labels()).gt(0);
    const torch::Tensor mistaken = contradiction_.contradicted.logical_and(of_attacked_label.logical_not());
    const torch::Tensor unmarked = contradiction_.confirmed.logical_and(
        of_attacked_label.logical_and(evidence_.cpu().gt(0)).logical_not());
    accuse(found.marked, unmarked.logical_or(mistaken));
  }

  // Sets `attacked` and T. T[c, y]: how often marked images that mean c bear the label y.
  Marks find_attack(const DatasetPtr& data, double marked_share) {
    const torch::Tensor labels = data->labels();
    const Marks found = marks(contradiction_, labels, data->num_classes(), evidence_.cpu(), marked_share);
    model_->attacked.zero_();
    for (const std::int64_t label : found.attacked_labels) model_->attacked[label] = 1;
    const torch::Tensor marked = found.marked.nonzero().squeeze(1);
    torch::Tensor transition = torch::full({data->num_classes(), data->num_classes()}, 1e-3);
    transition.index_put_({contradiction_.meaning.index_select(0, marked), labels.index_select(0, marked)},
                          torch::ones({marked.numel()}), /*accumulate=*/true);
    // A class of which no attacked image was seen is treated as the others are.
    transition += transition.sum(0, /*keepdim=*/true) / transition.sum();
    model_->transition.copy_(transition / transition.sum(1, /*keepdim=*/true));
    return found;
  }

  // What the witnesses learn next: as many accused samples as others, by repeating the fewer. [N] bool each.
  void accuse(const torch::Tensor& accused, const torch::Tensor& others) {
    accused_ = accused.to(problem_.compute.device, torch::kFloat);
    const torch::Tensor guilty = some_of(accused, most_examples);
    const torch::Tensor innocent = some_of(
        others.logical_and(accused.logical_not()),
        guilty.numel() == 0 ? 2 : std::min(most_examples, std::max(least_others, 4 * guilty.numel())));
    const std::int64_t repeats =
        std::max<std::int64_t>(1, innocent.numel() / std::max<std::int64_t>(1, guilty.numel()));
    examples_ = torch::cat({guilty.repeat({repeats}), innocent});
  }

  // Positions of at most `count` of the chosen samples, drawn by the seed. chosen [N] bool.
  torch::Tensor some_of(const torch::Tensor& chosen, std::int64_t count) const {
    const torch::Tensor all = chosen.nonzero().squeeze(1);
    return all.index_select(0, epoch_order(all.numel(), problem_.seed, 0))
        .narrow(0, 0, std::min(count, all.numel()));
  }

  // The evidence on every training sample, by the witness that did not learn from it, and what attacked and
  // other indicators look like.
  void hear(const DatasetPtr& data) {
    model_->eval();
    std::vector<torch::Tensor> parts;
    torch::Tensor clean_sum = torch::zeros_like(model_->clean_indicator);
    torch::Tensor attacked_sum = torch::zeros_like(model_->attacked_indicator);
    for_each_batch(data, batch_images, [&](const Batch& batch) {
      const torch::Tensor z_f = model_->indicator_embedding(place(batch.images, problem_.compute));
      const torch::Tensor witness = witness_.index_select(0, batch.indices.to(witness_.device()));
      parts.push_back(limited(held_out_testimony(model_->ain->testimony(z_f), witness)));
      const torch::Tensor is_attacked = parts.back().gt(0).to(torch::kFloat);
      attacked_sum += is_attacked.matmul(z_f);
      clean_sum += (1 - is_attacked).matmul(z_f);
    });
    evidence_ = torch::cat(parts);
    const double attacked = evidence_.gt(0).sum().item<double>();
    model_->attacked_indicator.copy_(attacked_sum / std::max(1.0, attacked));
    model_->clean_indicator.copy_(clean_sum / std::max(1.0, static_cast<double>(data->size()) - attacked));
  }

  // Before the SFRN has an opinion, that of the keyholes stands in for it: whatever may be attacked stays out
  // of the first epoch.
  void hold_out(const DatasetPtr& data) {
    const torch::Tensor labels = data->labels().to(problem_.compute.device);
    taught_ = labels;
    rejected_ = torch::zeros_like(accused_);
    weight_ = torch::ones_like(accused_);
    if (!attack_found()) return;
    hear(data);
    // Now that the mark itself is known, few marked samples suffice to call a further label attacked.
    find_attack(data, options_.marked_share / 6);
    const torch::Tensor held = posterior_log_odds(evidence_, meant_, labels).gt(surely_clean);
    weight_ = held.logical_not().to(torch::kFloat);
    log_info("left out of the first epoch: " + std::to_string(held.sum().item<std::int64_t>()) + " images");
  }

  // Once the SFRN has an opinion: attacked samples are argued against, or given the label that the SFRN is
  // sure of; what remains in doubt is left out. The opinion is averaged over the epochs, half of it the
  // latest: what the SFRN once knew of a sample it does not forget at once.
  void update_posterior(const DatasetPtr& data, std::int64_t epoch) {
    if (!attack_found()) return;
    model_->eval();
    const torch::Tensor now = of_every_sample(data, problem_.compute, [&](const torch::Tensor& images) {
                                return model_->semantic_logits(images).softmax(1);
                              }).to(problem_.compute.device);
    meant_ = epoch > 1 ? 0.5 * (meant_ + now) : now;
    const torch::Tensor labels = data->labels().to(problem_.compute.device);
    const torch::Tensor odds = posterior_log_odds(evidence_, meant_, labels);
    const auto [confidence, meaning] = meant_.max(1);
    const torch::Tensor attacked = odds.gt(0);
    const torch::Tensor mislabelled = attacked.logical_and(meaning.ne(labels));
    const torch::Tensor recovered = mislabelled.logical_and(confidence.gt(options_.recovery_confidence));
    rejected_ = mislabelled.to(torch::kFloat);
    taught_ = torch::where(recovered, meaning, labels);
    weight_ = odds.le(surely_clean).logical_or(recovered).to(torch::kFloat);
    log_info("held to be attacked: " + std::to_string(attacked.sum().item<std::int64_t>()) + " of " +
             std::to_string(data->size()) +
             " images; labels recovered: " + std::to_string(recovered.sum().item<std::int64_t>()));
  }

  RobustOptions options_;
  Problem problem_;
  RobustModel model_{nullptr};
  // Of each training sample, on the CPU.
  Contradiction contradiction_;  // where the keyholes contradict its label
  torch::Tensor examples_;       // [M] int64: what the witnesses learn from, with repeats
  // Of each training sample, on the device.
  torch::Tensor witness_;   // [N] int64: the witness that learns from it
  torch::Tensor accused_;   // [N] float32: 1 where the witnesses learn that it is attacked
  torch::Tensor evidence_;  // [N] float32: what the other witness says, log odds
  torch::Tensor taught_;    // [N] int64: the label that the SFRN is taught
  torch::Tensor weight_;    // [N] float32: how much of it
  torch::Tensor rejected_;  // [N] float32: is the recorded label argued against?
  torch::Tensor meant_;     // [N, C] float32: the keyholes' opinion, then the SFRN's, averaged
};

}  // namespace

std::unique_ptr<Defense> make_robust_mcci() { return std::make_unique<RobustMcci>(); }

}  // namespace mcci
