#include "mcci/method/robust.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <sstream>

#include <torch/nn/functional/loss.h>
#include <torch/types.h>

#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/data/compose.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/method/contradiction.hpp"
#include "mcci/method/division.hpp"
#include "mcci/method/glimpses.hpp"
#include "mcci/method/hearing.hpp"
#include "mcci/method/keyholes.hpp"
#include "mcci/method/marks.hpp"
#include "mcci/method/neighbourhood.hpp"
#include "mcci/method/robust_model.hpp"
#include "mcci/method/robust_options.hpp"
#include "mcci/method/trigger.hpp"
#include "mcci/method/witnesses.hpp"
#include "mcci/nn/weights.hpp"
#include "mcci/train/sample_state.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

namespace F = torch::nn::functional;

constexpr std::int64_t batch_images = 500;
constexpr double out_of_question = -20;
// Posterior log odds up to which a label is taught: where its poison has been set apart; and where it is the
// witnesses' word alone, at least, in the first epoch and once the SFRN has an opinion.
constexpr double surely_clean = -1, surely_clean_unseen = -6.5, surely_clean_by_word = -4;
constexpr std::int64_t most_examples = 6000;  // of either kind, that the witnesses learn from in an epoch
constexpr std::int64_t least_others = 3000;
constexpr std::int64_t most_unaccused = 6000;  // samples that nothing contradicts, of labels not attacked
constexpr std::int64_t most_asked = 2000;      // samples, to see whether keyholes or glimpses are needed
constexpr std::int64_t most_neighbours = 10;   // of a sample, that a pre-trained backbone is asked for
// Of the triggers that are put on in training, times what marked images show of them on average: an attacker
// may show more of it at test time.
constexpr double weakest = 0.5, strongest = 2.5;

// Of each row, the column of its label. rows [B,C], labels [B] -> [B].
torch::Tensor of_label(const torch::Tensor& rows, const torch::Tensor& labels) {
  return rows.gather(1, labels.unsqueeze(1)).squeeze(1);
}

// What the witnesses make of marked and of other indicators, on average.
class IndicatorMeans {
 public:
  IndicatorMeans(std::int64_t size, const torch::Device& device)
      : sums_(torch::zeros({4, size}).to(device)), counts_(torch::zeros({4, 1}).to(device)) {}

  // listener [B] int64: 0 or 1; marked [B] bool; z_f [B,size], by those listeners.
  void add(const torch::Tensor& listener, const torch::Tensor& marked, const torch::Tensor& z_f) {
    const torch::Tensor group = 2 * listener + marked.to(torch::kLong);
    sums_.index_add_(0, group, z_f);
    counts_.index_add_(0, group, torch::ones({group.numel(), 1}).to(counts_.device()));
  }

  // Of both witnesses, one after the other: [2 size].
  torch::Tensor of(bool marked) const {
    const torch::Tensor means = sums_ / counts_.clamp_min(1);
    return torch::cat({means[marked ? 1 : 0], means[marked ? 3 : 2]});
  }

 private:
  torch::Tensor sums_, counts_;
};

enum PhaseIndex : std::size_t {
  keyholes_phase,
  glimpses_phase,
  hearing_phase,
  indicator_phase,
  conditioned_phase
};

class RobustMcci : public Defense {
 public:
  explicit RobustMcci(const AinOptions& ain) : ain_(ain) {}

  void declare(OptionSet& set) override { options_.declare(set); }

  const Registry<Json>& presets() const override { return mcci_presets(); }

  void build(const Problem& problem) override {
    problem_ = problem;
    problem_.backbone.outputs = problem.num_classes;
    torch::manual_seed(derive_seed(problem.seed, "weights"));
    model_ = RobustModel(problem_, ain_);
  }

  torch::nn::Module& module() override { return *model_; }

  std::vector<Phase> phases(const TrainOptions& options) override {
    Phase keyholes = make_phase("keyholes", parameter_list(*model_->keyholes), options);
    keyholes.epochs = options_.keyhole_epochs;
    keyholes.images = options_.keyhole_images;
    Phase glimpses = make_phase("glimpses", parameter_list(*model_->glimpses), options);
    glimpses.epochs = options_.glimpse_epochs;
    glimpses.images = options_.glimpse_images;
    Phase hearing = make_phase("hearing", parameter_list(*model_->ain), options);
    hearing.epochs = options_.indicator_epochs;
    hearing.classifies = false;
    Phase indicator = hearing;
    indicator.name = "indicator";
    for (Phase* phase : {&keyholes, &glimpses, &hearing, &indicator}) {
      phase->optimizer = OptimizerOptions();
      phase->optimizer.lr = 0.05;
      phase->schedule = ScheduleOptions();
      phase->augment = AugmentOptions::none();
    }
    glimpses.optimizer.lr = 0.1;
    return {keyholes, glimpses, hearing, indicator,
            make_phase("conditioned", parameter_list(*model_->sfrn), options)};
  }

  void begin_epoch(std::size_t phase, std::int64_t epoch, const DatasetPtr& data) override {
    const torch::NoGradGuard no_grad;
    if (phase == glimpses_phase && epoch == 0) choose_glimpsed(data);
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
    return phase == keyholes_phase || phase == conditioned_phase ? torch::Tensor() : examples_;
  }

  StepOutput loss(std::size_t phase, const Batch& batch) override {
    if (phase == keyholes_phase) {
      const torch::Tensor logits = keyholes_in_training(model_->keyholes, batch.images);
      const torch::Tensor labels = batch.labels.repeat({Keyholes::Impl::count});
      const torch::Tensor each = F::cross_entropy(logits.flatten(0, 1), labels);
      return {each * static_cast<double>(Keyholes::Impl::count), logits[0]};
    }
    if (phase == glimpses_phase) {
      const torch::Tensor logits = model_->glimpse_logits(batch.images);
      return {F::cross_entropy(logits, batch.labels), logits};
    }
    if (phase == hearing_phase || phase == indicator_phase) {
      const torch::Tensor said =
          model_->testimony(batch.images, witness_.index_select(0, batch.indices)).log_odds;
      const torch::Tensor accused = accused_.index_select(0, batch.indices);
      const torch::Tensor meaning =
          contradiction_.meaning.index_select(0, batch.indices.cpu()).to(said.device());
      const torch::Tensor against = torch::softplus(said).mul(controls_.index_select(0, meaning));
      return {
          (accused * torch::softplus(-of_label(said, batch.labels)) + (1 - accused) * against.sum(1)).mean(),
          {}};
    }
    const torch::Tensor logits = model_->semantic_logits(with_triggers(batch));
    const torch::Tensor log_p = logits.log_softmax(1);
    const torch::Tensor taught = of_label(log_p, taught_.index_select(0, batch.indices));
    const torch::Tensor recorded = of_label(log_p, batch.labels).exp();
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
                                : attack_probability(images);
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

  std::int64_t indicator_size() const override { return ain_.embedding; }

  bool has_suspicion() const override { return true; }

  at::Tensor suspicion(const at::Tensor& images, const at::Tensor& labels) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    const torch::Tensor evidence = attack_found() && options_.has("indicator")
                                       ? of_label(model_->evidence(images), labels)
                                       : torch::zeros({images.size(0)}).to(images.device());
    return posterior_log_odds(evidence, model_->semantic_logits(images).softmax(1), labels);
  }

  // Of a training sample the witness that did not learn from it is asked alone, and the division.
  std::int64_t known_samples() const override { return evidence_.defined() ? evidence_.size(0) : 0; }
  at::Tensor training_suspicion(const Batch& batch) override {
    const torch::NoGradGuard no_grad;
    model_->eval();
    return posterior_log_odds(evidence_.index_select(0, batch.indices),
                              model_->semantic_logits(batch.images).softmax(1), batch.labels);
  }

  double suspicion_threshold() const override { return 0; }

  std::shared_ptr<Backbone> folded() override { return copy_of(*model_->sfrn, problem_.backbone); }

 private:
  SampleState sample_state() {
    return {{"witness", &witness_},
            {"accused", &accused_},
            {"evidence", &evidence_},
            {"taught", &taught_},
            {"weight", &weight_},
            {"rejected", &rejected_},
            {"meant", &meant_},
            {"usual_odds", &usual_odds_},
            {"controls", &controls_},
            {"trigger_scale", &triggers_.scale},
            {"trigger_shift", &triggers_.shift},
            {"trigger_departures", &triggers_.departures}};
  }
  SampleState host_state() {
    return {{"contradicted", &contradiction_.contradicted},
            {"confirmed", &contradiction_.confirmed},
            {"meaning", &contradiction_.meaning},
            {"divided", &divided_},
            {"known", &known_},
            {"cleared", &cleared_},
            {"exposed", &found_.exposed},
            {"guilty", &found_.guilty},
            {"believed", &believed_},
            {"examples", &examples_}};
  }

  bool attack_found() const { return model_->attacked.sum().item<double>() > 0; }
  // [N] bool, on the CPU.
  torch::Tensor of_attacked_label(const DatasetPtr& data) const {
    return model_->attacked.cpu().gt(0).index_select(0, data->labels());
  }
  double prior_log_odds() const { return std::log(options_.prior / (1 - options_.prior)); }

  // a(s) of new images, [B,1]: for the label of which the witnesses say most.
  torch::Tensor attack_probability(const torch::Tensor& images) {
    const torch::Tensor unheard = model_->attacked.eq(0).unsqueeze(0);
    const torch::Tensor most = model_->evidence(images).masked_fill(unheard, -evidence_limit).amax(1);
    return (most + prior_log_odds()).sigmoid().unsqueeze(1);
  }

  // Log odds that a sample is attacked, by Bayes' rule: the prior; what the spectrum says; and whether the
  // recorded label is what an attacker would have written or what the image means. evidence [B], meant [B, C]
  // the SFRN's probabilities, labels [B] -> [B].
  torch::Tensor posterior_log_odds(const torch::Tensor& evidence, const torch::Tensor& meant,
                                   const torch::Tensor& labels) {
    const torch::Tensor if_attacked = of_label(meant.mm(model_->transition), labels);
    const torch::Tensor if_clean = of_label(meant, labels);
    const torch::Tensor odds =
        evidence + prior_log_odds() + if_attacked.clamp_min(1e-3).log() - if_clean.clamp_min(1e-3).log();
    return torch::where(model_->attacked.index_select(0, labels) > 0, odds, if_clean.neg() + out_of_question);
  }

  // Glimpses learn nothing where keyholes know the classes well enough.
  void choose_glimpsed(const DatasetPtr& data) {
    const DatasetPtr some = some_asked(data);
    const bool learn =
        options_.has("keyholes") &&
        detail_may_be_needed(keyhole_opinions(model_->keyholes, some, problem_.compute), some->labels());
    examples_ = natural_order(learn ? data->size() : 0);
  }

  DatasetPtr some_asked(const DatasetPtr& data) const {
    const torch::Tensor all = torch::ones({data->size()}, torch::kBool);
    return subset(data, some_of(all, most_asked, problem_.seed));
  }

  void find_contradictions(const DatasetPtr& data) {
    const torch::Tensor opinions =
        options_.has("keyholes")
            ? opinions_of(data)
            : torch::one_hot(data->labels(), data->num_classes()).to(torch::kFloat).unsqueeze(0);
    const torch::Device device = problem_.compute.device;
    contradiction_ = contradictions(opinions, data->labels(), options_.keyhole_confidence);
    meant_ = opinions.mean(0).to(device);
    witness_ = witness_of(data->size(), derive_seed(problem_.seed, "witnesses")).to(device);
    divided_ = torch::zeros({data->num_classes()}, torch::kBool);
    known_ = torch::zeros({data->size()}, torch::kBool);
    cleared_ = torch::zeros_like(known_);
    if (options_.has("division")) heed_divisions(data);
    accuse(contradiction_.contradicted, contradiction_.confirmed, data);
  }

  // What the keyholes or glimpses see, and what a pre-trained SFRN finds alike before it is trained on this
  // set: [V,N,C] float32 on the CPU.
  torch::Tensor opinions_of(const DatasetPtr& data) {
    const DatasetPtr some = some_asked(data);
    const bool in_detail =
        examples_.numel() > 0 &&
        detail_is_needed(keyhole_opinions(model_->keyholes, some, problem_.compute),
                         glimpse_opinions(model_->glimpses, some, problem_.compute), some->labels());
    log_info(std::string("what images mean is seen by the ") + (in_detail ? "glimpses" : "keyholes"));
    const torch::Tensor seen = in_detail ? glimpse_opinions(model_->glimpses, data, problem_.compute)
                                         : keyhole_opinions(model_->keyholes, data, problem_.compute);
    if (!problem_.pre_trained) return seen;
    const torch::Tensor alike = neighbourhood_opinion(*model_->sfrn, data, problem_.compute,
                                                      std::min(most_neighbours, data->size() - 1));
    return torch::cat({seen, alike.unsqueeze(0)});
  }

  // A group that an attack has set apart within a label is accused as if it contradicted the label, and
  // nothing else of that label is, where mistakes explain it: no keyhole can tell where the attack keeps the
  // label.
  void heed_divisions(const DatasetPtr& data) {
    const Divisions found = find_divisions(data, contradiction_, problem_.seed);
    const torch::Tensor rest = contradiction_.contradicted.logical_and(found.apart.logical_not());
    divided_ = found.attacked.logical_and(mistakes_explain(rest, data));
    const torch::Tensor of_divided = divided_.index_select(0, data->labels());
    known_ = found.relabelled;
    cleared_ = found.cleared.logical_and(of_divided);
    contradiction_.contradicted = torch::where(of_divided, found.apart, rest.logical_or(found.apart));
    contradiction_.confirmed.logical_and_(contradiction_.contradicted.logical_not());
    std::ostringstream gaps;
    gaps << std::fixed << std::setprecision(1);
    for (std::size_t label = 0; label < found.gaps.size(); ++label) {
      const auto index = static_cast<std::int64_t>(label);
      gaps << (label == 0 ? "" : ", ") << found.gaps[label];
      if (!divided_[index].item<bool>()) continue;
      gaps << " (an attack's, "
           << found.apart.logical_and(data->labels().eq(index)).sum().item<std::int64_t>() << " images)";
    }
    log_info("the widest gap within each label: " + gaps.str());
  }

  // Of each label whether mistakes explain what contradicts it, [C] bool: no more samples do than of other
  // labels, or they mean less than half of the other classes, as its neighbours do. Where not, the groups set
  // apart are a part of what the attack has done. contradicted [N] bool: beside these groups.
  torch::Tensor mistakes_explain(const torch::Tensor& contradicted, const DatasetPtr& data) const {
    const std::int64_t classes = data->num_classes();
    std::vector<double> counts;
    torch::Tensor explained = torch::zeros({classes}, torch::kBool);
    for (std::int64_t label = 0; label < classes; ++label) {
      const torch::Tensor meanings =
          meanings_of(contradiction_.meaning, contradicted.logical_and(data->labels().eq(label)), classes);
      counts.push_back(meanings.sum().item<double>());
      explained[label] = 2 * effective_number(meanings) < static_cast<double>(classes - 1);
    }
    const torch::Tensor few = torch::tensor(counts, torch::kDouble).lt(most_mistakes(counts));
    return few.logical_or(explained);
  }

  // What of the contradicted samples bears the mark of an attack; the witnesses are then heard on these
  // alone.
  void find_marks(const DatasetPtr& data) {
    const torch::Tensor marked = judge(data, options_.marked_share);
    std::string names;
    for (std::int64_t label = 0; label < data->num_classes(); ++label) {
      if (model_->attacked[label].item<double>() > 0)
        names += (names.empty() ? "" : ", ") + data->classes()[static_cast<std::size_t>(label)];
    }
    log_info(names.empty() ? "no label is contradicted by images that bear the mark of an attack"
                           : "labels that look attacked: " + names + "; contradicted by marked images: " +
                                 std::to_string(marked.sum().item<std::int64_t>()));
    // What contradicts other labels is a mistake: difficult images, which are no mark. Images of the
    // attacker's own class bear the mark without being contradicted: they are no examples of either kind.
    const torch::Tensor of_attacked = of_attacked_label(data);
    const torch::Tensor mistaken = contradiction_.contradicted.logical_and(of_attacked.logical_not());
    const torch::Tensor unmarked =
        contradiction_.confirmed.logical_and(of_attacked.logical_and(evidence_.cpu().gt(0)).logical_not());
    accuse(marked, unmarked.logical_or(mistaken), data);
  }

  // The witnesses are asked about what contradicts its label, about every sample of an attacked one, and of
  // the others about some. Which labels are attacked: the model then knows. -> what bears the mark of it, [N]
  // bool.
  torch::Tensor judge(const DatasetPtr& data, double marked_share) {
    torch::Tensor asked = contradiction_.contradicted.logical_or(of_attacked_label(data));
    asked.index_fill_(0, some_of(asked.logical_not(), most_unaccused, problem_.seed), true);
    evidence_ = torch::full_like(accused_, -std::numeric_limits<double>::infinity());
    IndicatorMeans usual(ain_.embedding / 2, problem_.compute.device);
    hear(data, asked, usual);
    const Witness witness = [this](const torch::Tensor& images) {
      return model_->evidence(place(images, problem_.compute)).cpu();
    };
    found_ = find_attack(hearing_of(data), witness, marked_share);
    model_->attacked.copy_(found_.attacked);
    hear(data, of_attacked_label(data).logical_and(asked.logical_not()), usual);
    model_->clean_indicator.copy_(usual.of(false));
    model_->attacked_indicator.copy_(usual.of(true));
    return marked_by(hearing_of(data), found_);
  }

  Hearing hearing_of(const DatasetPtr& data) const {
    const torch::Tensor known =
        torch::zeros_like(divided_).index_fill_(0, data->labels().masked_select(known_), true);
    return {
        data, contradiction_, divided_, known, evidence_.cpu(), problem_.seed, options_.has("intervention")};
  }

  // What attackers do to the images that were found, which mean what the hearing says.
  void learn_deed(const Hearing& hearing) {
    const torch::Device device = problem_.compute.device;
    const Deed deed = deed_of(hearing, found_);
    believed_ = hearing.contradiction.meaning;
    model_->transition.copy_(deed.transition);
    triggers_ = {};
    if (deed.triggers.defined())
      triggers_ = {deed.triggers.scale.to(device), deed.triggers.shift.to(device),
                   deed.triggers.departures.to(device)};
  }

  // Images of a step, some of which get a trigger and keep their label: the cell that the training set lacks,
  // a triggered image without an attack. Only images whose label is taught as it is.
  torch::Tensor with_triggers(const Batch& batch) {
    if (!triggers_.defined()) return batch.images;
    const torch::Tensor draw = torch::rand({3, batch.images.size(0)}).to(batch.images.device());
    const torch::Tensor taught = weight_.index_select(0, batch.indices)
                                     .gt(0)
                                     .logical_and(taught_.index_select(0, batch.indices).eq(batch.labels));
    const torch::Tensor rows = draw[0].lt(options_.transplants).logical_and(taught).nonzero().squeeze(1);
    const torch::Tensor strength =
        (weakest + (strongest - weakest) * draw[2].index_select(0, rows)).view({-1, 1, 1, 1});
    const Trigger chosen = drawn(triggers_, draw[1].index_select(0, rows));
    const torch::Tensor triggered = put_on(chosen, batch.images.index_select(0, rows), strength);
    // A copy keeps the layout, which index_copy() by itself would not.
    return batch.images.clone().index_copy_(0, rows, triggered.to(batch.images.dtype()));
  }

  // What the witnesses learn next. [N] bool each. Of a label they learn from its accused samples and from
  // others, which are weighted to mean what the accused ones mean.
  void accuse(const torch::Tensor& accused, const torch::Tensor& others, const DatasetPtr& data) {
    accused_ = accused.to(problem_.compute.device, torch::kFloat);
    const torch::Tensor guilty = some_of(accused, most_examples, problem_.seed);
    const torch::Tensor innocent =
        some_of(others.logical_and(accused.logical_not()),
                guilty.numel() == 0 ? 2 : std::min(most_examples, std::max(least_others, 2 * guilty.numel())),
                problem_.seed);
    examples_ = torch::cat({guilty, innocent});
    controls_ = control_weights(contradiction_.meaning.index_select(0, guilty),
                                data->labels().index_select(0, guilty),
                                contradiction_.meaning.index_select(0, innocent), data->num_classes())
                    .to(problem_.compute.device);
  }

  // The witness that did not learn from each of these samples: positions [B] int64 -> [B] int64.
  torch::Tensor listener_to(const torch::Tensor& positions) const {
    return 1 - witness_.index_select(0, positions.to(witness_.device()));
  }

  // The evidence on the chosen samples, by the witness that did not learn from it. chosen [N] bool.
  void hear(const DatasetPtr& data, const torch::Tensor& chosen, IndicatorMeans& usual) {
    model_->eval();
    const torch::Tensor positions = chosen.nonzero().squeeze(1);
    for_each_batch(subset(data, positions), batch_images, [&](const Batch& batch) {
      const torch::Tensor heard = positions.index_select(0, batch.indices);
      const torch::Tensor listener = listener_to(heard);
      const torch::Device device = listener.device();
      const auto said = model_->testimony(place(batch.images, problem_.compute), listener);
      torch::Tensor evidence =
          of_label(said.log_odds, batch.labels.to(device)).clamp(-evidence_limit, evidence_limit);
      usual.add(listener, evidence.gt(0), said.z_f);
      if (!options_.has("indicator")) evidence.zero_();
      evidence.masked_fill_(cleared_.index_select(0, heard).to(device), -evidence_limit);
      evidence.masked_fill_(known_.index_select(0, heard).to(device), evidence_limit);
      evidence_.index_copy_(0, heard.to(device), evidence);
    });
  }

  // Before the SFRN has an opinion, that of the keyholes stands in for it: whatever may be attacked stays out
  // of the first epoch.
  void hold_out(const DatasetPtr& data) {
    const torch::Tensor labels = data->labels().to(problem_.compute.device);
    taught_ = labels;
    rejected_ = torch::zeros_like(accused_);
    weight_ = torch::ones_like(accused_);
    if (!attack_found()) return;
    // Now that the mark itself is known, few marked samples suffice to call a further label attacked.
    judge(data, options_.marked_share / 6);
    learn_deed(hearing_of(data));
    find_usual_odds(data);
    const torch::Tensor held = certain(labels).logical_or(
        posterior_log_odds(evidence_, meant_, labels).gt(usual_odds_.index_select(0, labels)));
    weight_ = held.logical_not().to(torch::kFloat);
    log_info("left out of the first epoch: " + std::to_string(held.sum().item<std::int64_t>()) + " images");
  }

  // Once the SFRN has an opinion: attacked samples are argued against, or given the label that the SFRN is
  // sure of; what remains in doubt is left out. It is asked about attacked labels alone: of the others it
  // would say nothing that matters. The opinion is averaged over the epochs, half of it the latest: what the
  // SFRN once knew of a sample it does not forget at once.
  void update_posterior(const DatasetPtr& data, std::int64_t epoch) {
    if (!attack_found() || !options_.has("posterior")) return;
    model_->eval();
    const torch::Tensor labels = data->labels().to(problem_.compute.device);
    const torch::Tensor asked = model_->attacked.index_select(0, labels).nonzero().squeeze(1);
    const torch::Tensor now =
        of_every_sample(subset(data, asked.cpu()), problem_.compute, [&](const torch::Tensor& images) {
          return model_->semantic_logits(images).softmax(1);
        }).to(problem_.compute.device);
    meant_.index_copy_(0, asked, epoch > 1 ? 0.5 * (meant_.index_select(0, asked) + now) : now);
    // What the attack does to images shows once it is known what they mean. Keyholes do not know where they
    // see the trigger; of some attacks the SFRN does, once it has learned from other images.
    Hearing hearing = hearing_of(data);
    hearing.contradiction.meaning = better_meaning(hearing, found_, meant_.argmax(1).cpu());
    if (!hearing.contradiction.meaning.equal(believed_)) learn_deed(hearing);
    const torch::Tensor odds = posterior_log_odds(evidence_, meant_, labels);
    const auto [confidence, meaning] = meant_.max(1);
    const torch::Tensor attacked = odds.gt(0);
    // What the AIN is sure of stays out for good: the SFRN's opinion of a trigger that it has not seen is
    // poor, and would only be reinforced. The rest is in doubt, and argued about.
    const torch::Tensor mislabelled =
        attacked.logical_and(meaning.ne(labels)).logical_and(certain(labels).logical_not());
    const torch::Tensor recovered = mislabelled.logical_and(confidence.gt(options_.recovery_confidence));
    if (options_.has("negative-evidence")) rejected_ = mislabelled.to(torch::kFloat);
    taught_ = torch::where(recovered, meaning, labels);
    weight_ = odds.le(usual_odds_.clamp_min(surely_clean_by_word).index_select(0, labels))
                  .logical_or(recovered)
                  .logical_and(certain(labels).logical_not())
                  .to(torch::kFloat);
    log_info("held to be attacked: " + std::to_string(attacked.sum().item<std::int64_t>()) + " of " +
             std::to_string(data->size()) +
             " images; labels recovered: " + std::to_string(recovered.sum().item<std::int64_t>()));
  }

  // Poison that the witnesses do not know would teach the SFRN its trigger. So where no group was set apart,
  // what may be poison is left out as far as the witnesses can tell it from images that this attack did not
  // touch.
  void find_usual_odds(const DatasetPtr& data) {
    usual_odds_ = torch::full({data->num_classes()}, surely_clean).to(problem_.compute.device);
    const torch::Tensor by_word = model_->attacked.cpu().gt(0).logical_and(divided_.logical_not());
    const torch::Tensor some = some_of(contradiction_.confirmed, most_examples, problem_.seed);
    if (!by_word.any().item<bool>() || some.numel() == 0 || !options_.has("indicator")) return;
    std::vector<torch::Tensor> said;
    for_each_batch(subset(data, some), batch_images, [&](const Batch& batch) {
      const torch::Tensor listener = listener_to(some.index_select(0, batch.indices));
      said.push_back(model_->testimony(place(batch.images, problem_.compute), listener).log_odds.cpu());
    });
    const torch::Tensor usual = usual_evidence(torch::cat(said), data->labels().index_select(0, some));
    usual_odds_ = (usual + prior_log_odds())
                      .clamp(surely_clean_unseen, surely_clean)
                      .masked_fill(by_word.logical_not(), surely_clean)
                      .to(problem_.compute.device);
  }

  // Of which the AIN alone is sure that it is attacked: [N] bool.
  torch::Tensor certain(const torch::Tensor& labels) const {
    return evidence_.gt(sure).logical_and(model_->attacked.index_select(0, labels).gt(0));
  }

  const AinOptions& ain_;
  RobustOptions options_;
  Problem problem_;
  RobustModel model_{nullptr};
  // Of each training sample, on the CPU.
  Contradiction contradiction_;  // where the keyholes contradict its label
  Findings found_;
  torch::Tensor believed_;  // [N] int64: what they mean, when it was last learned what was done to images
  torch::Tensor divided_;   // [C] bool: labels within which an attack has set a group apart
  torch::Tensor known_;     // [N] bool: what is an attack's whatever the witnesses say
  torch::Tensor cleared_;   // [N] bool: what is not
  torch::Tensor examples_;  // [M] int64: what the glimpses, and then the witnesses, learn from
  // Of each training sample, on the device.
  torch::Tensor witness_;     // [N] int64: the witness that learns from it
  torch::Tensor usual_odds_;  // [C] float32: posterior log odds up to which a label is taught at first
  torch::Tensor controls_;    // [C, C] float32: how much a sample that means c counts against the label y
  torch::Tensor accused_;     // [N] float32: 1 where the witnesses learn that it is attacked
  torch::Tensor evidence_;    // [N] float32: what the other witness says, log odds; -infinity: not asked
  torch::Tensor taught_;      // [N] int64: the label that the SFRN is taught
  torch::Tensor weight_;      // [N] float32: how much of it
  torch::Tensor rejected_;    // [N] float32: is the recorded label argued against?
  Trigger triggers_;          // [K, channels, H, W] each: those that work; undefined: none
  torch::Tensor meant_;       // [N, C] float32: the keyholes' opinion; of attacked labels later the SFRN's
};

}  // namespace

std::unique_ptr<Defense> make_robust_mcci(const AinOptions& ain) { return std::make_unique<RobustMcci>(ain); }

}  // namespace mcci
