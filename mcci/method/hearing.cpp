#include "mcci/method/hearing.hpp"

#include <algorithm>
#include <vector>

#include "mcci/data/loader.hpp"
#include "mcci/method/marks.hpp"
#include "mcci/method/pixels.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

constexpr std::int64_t most_examples = 6000;  // of either kind, that a trigger is estimated from
constexpr std::int64_t most_hosts = 500;      // images onto which it is put to see whether it works
constexpr std::int64_t most_compared = 2000;  // images of either kind, to see who knows what they mean
constexpr std::int64_t most_side = 32;        // pixels at which they are compared
constexpr double clearly = 0.9;               // of the variance that whoever knows it better leaves
constexpr std::int64_t least_marked = 20;     // to estimate it

// How many of the chosen samples mean each class: [C] float32.
torch::Tensor meanings_of(const Hearing& hearing, const torch::Tensor& chosen) {
  return mcci::meanings_of(hearing.contradiction.meaning, chosen, hearing.data->num_classes());
}

// Variance, over all columns, of the rows.
double spread(const torch::Tensor& rows) {
  return (rows - rows.mean(0)).square().sum(1).mean().item<double>();
}

torch::Tensor of_other_labels(const Hearing& hearing, std::int64_t label) {
  return hearing.contradiction.confirmed.logical_and(hearing.data->labels().ne(label));
}

// What makes confirmed images look as the marked ones of this label; undefined if there are too few to tell.
Trigger trigger_of(const Hearing& hearing, std::int64_t label, const torch::Tensor& marked) {
  if (marked.sum().item<std::int64_t>() < least_marked) return {};
  const torch::Tensor& meaning = hearing.contradiction.meaning;
  const torch::Tensor others =
      hearing.divided[label].item<bool>() ? hearing.contradiction.confirmed : of_other_labels(hearing, label);
  const torch::Tensor weight = meanings_of(hearing, marked) / meanings_of(hearing, others).clamp_min(1);
  const torch::Tensor comparable = weight.index_select(0, meaning).gt(0);
  const torch::Tensor controls = some_of(others.logical_and(comparable), most_examples, hearing.seed);
  if (controls.numel() == 0) return {};
  return estimate_trigger(hearing.data, some_of(marked, most_examples, hearing.seed), controls,
                          weight.index_select(0, meaning.index_select(0, controls)));
}

// The share of images of other labels that bear the mark of this one once its trigger is put onto them. A
// do-operation: what merely is difficult does not make others so.
double followed(const Hearing& hearing, const Witness& witness, std::int64_t label, const Trigger& trigger) {
  const torch::Tensor hosts = some_of(of_other_labels(hearing, label), most_hosts, hearing.seed);
  const torch::Tensor images = put_on(trigger, to_unit(hearing.data->images(hosts)), torch::ones({1}));
  return share_of(witness(images).select(1, label).gt(sure));
}

}  // namespace

Findings find_attack(const Hearing& hearing, const Witness& witness, double share) {
  const torch::NoGradGuard no_grad;
  const std::int64_t classes = hearing.data->num_classes();
  const torch::Tensor labels = hearing.data->labels();
  const torch::Tensor bears = hearing.evidence.gt(sure), asked = hearing.evidence.isfinite();
  std::vector<torch::Tensor> contradicted, marked;
  std::vector<Grounds> grounds;
  for (std::int64_t label = 0; label < classes; ++label) {
    contradicted.push_back(hearing.contradiction.contradicted.logical_and(labels.eq(label)));
    marked.push_back(contradicted.back().logical_and(bears));
    Grounds of;
    of.contradicted = contradicted.back().sum().item<double>();
    of.marked = marked.back().sum().item<double>();
    const torch::Tensor others =
        labels.eq(label).logical_and(contradicted.back().logical_not()).logical_and(asked);
    of.elsewhere =
        bears.logical_and(others).sum().item<double>() / std::max(others.sum().item<double>(), 1.0);
    of.meanings = effective_number(meanings_of(hearing, marked.back()));
    of.all_meanings = effective_number(meanings_of(hearing, contradicted.back()));
    const Trigger trigger = trigger_of(hearing, label, marked.back());
    if (trigger.defined()) {
      const bool tested = hearing.intervene && !hearing.known[label].item<bool>();
      of.followed = tested ? followed(hearing, witness, label, trigger) : 1;
    }
    grounds.push_back(of);
  }
  const std::vector<Verdict> verdict = verdicts(grounds, share);
  Findings found;
  found.attacked = torch::zeros({classes}, torch::kBool);
  found.exposed = torch::zeros_like(found.attacked);
  found.guilty = torch::zeros_like(bears);
  for (std::int64_t label = 0; label < classes; ++label) {
    const auto i = static_cast<std::size_t>(label);
    if (verdict[i] == Verdict::clean) continue;
    found.attacked[label] = true;
    found.exposed[label] = grounds[i].trigger_works();
    found.guilty.logical_or_(verdict[i] == Verdict::contradicted ? contradicted[i] : marked[i]);
  }
  return found;
}

torch::Tensor marked_by(const Hearing& hearing, const Findings& found) {
  const torch::Tensor of_exposed = found.exposed.index_select(0, hearing.data->labels());
  return found.guilty.logical_or(of_exposed.logical_and(hearing.evidence.gt(sure)));
}

torch::Tensor better_meaning(const Hearing& hearing, const Findings& found, const torch::Tensor& other) {
  const torch::NoGradGuard no_grad;
  torch::Tensor meaning = hearing.contradiction.meaning.clone();
  const torch::Tensor confirmed = some_of(hearing.contradiction.confirmed, most_compared, hearing.seed);
  const torch::Tensor usual = means_of(pixels_of(hearing.data, confirmed, most_side),
                                       meaning.index_select(0, confirmed), hearing.data->num_classes());
  for (std::int64_t label = 0; label < hearing.data->num_classes(); ++label) {
    const torch::Tensor guilty = found.guilty.logical_and(hearing.data->labels().eq(label));
    const torch::Tensor some = some_of(guilty, most_compared, hearing.seed);
    if (some.numel() == 0) continue;
    const torch::Tensor pixels = pixels_of(hearing.data, some, most_side);
    const auto departures = [&](const torch::Tensor& meant) {
      return spread(pixels - usual.index_select(0, meant.index_select(0, some)));
    };
    if (departures(other) < clearly * departures(meaning)) meaning = torch::where(guilty, other, meaning);
  }
  return meaning;
}

Deed deed_of(const Hearing& hearing, const Findings& found) {
  const torch::NoGradGuard no_grad;
  const std::int64_t classes = hearing.data->num_classes();
  Deed deed;
  deed.transition = torch::full({classes, classes}, 1e-3);
  std::vector<torch::Tensor> scales, shifts, departures;
  for (std::int64_t label = 0; label < classes; ++label) {
    const torch::Tensor guilty = found.guilty.logical_and(hearing.data->labels().eq(label));
    deed.transition.select(1, label) += meanings_of(hearing, guilty);
    if (!found.exposed[label].item<bool>()) continue;
    const Trigger trigger = trigger_of(hearing, label, guilty.logical_and(hearing.evidence.gt(sure)));
    if (!trigger.defined()) continue;
    scales.push_back(trigger.scale);
    shifts.push_back(trigger.shift);
    departures.push_back(trigger.departures);
  }
  if (!scales.empty()) deed.triggers = {torch::stack(scales), torch::stack(shifts), torch::stack(departures)};
  // A class of which no attacked image was seen is treated as the others are.
  deed.transition += deed.transition.sum(0, /*keepdim=*/true) / deed.transition.sum();
  deed.transition = deed.transition / deed.transition.sum(1, /*keepdim=*/true);
  return deed;
}

}  // namespace mcci
