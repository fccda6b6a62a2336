#include "mcci/method/division.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "mcci/data/loader.hpp"
#include "mcci/method/discriminant.hpp"
#include "mcci/method/gaps.hpp"
#include "mcci/method/measurements.hpp"
#include "mcci/method/relabelling.hpp"
#include "mcci/runtime/workers.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

constexpr std::int64_t most_measured = 2000;     // samples whose coefficients are looked through for gaps
constexpr std::int64_t most_coefficients = 512;  // that a discriminant may use, those with the widest gaps
constexpr std::int64_t most_components = 100;    // principal components of these
constexpr std::int64_t least_samples = 200;
constexpr std::int64_t starts = 6;
constexpr int rounds = 8;
constexpr double least_group = 0.03;  // of the samples, in either group
// Observed on development seeds 101 and 102 (Fashion-MNIST): SIG on a half or a tenth of a class 9.0 to 11.7,
// clean classes at most 3.6.
constexpr double least_gap = 5;
constexpr double most_elsewhere = 0.01;
// Of a treatment. Observed on training images of Fashion-MNIST, classes of 1,000 and 6,000 images: SIG at 12
// to 30 grey levels on half of a class has gaps of 2.4 to 7.8, a valley of 0.08 at most, is unlike the rest
// by 0.4 at most, and others lie there 0.6 times as often at most; a tenth of a class is unlike it by up
// to 3.5. Clean classes have valleys of 0.27 and more; two classes under one label are unlike by 2.0 and
// more.
constexpr double least_treated_gap = 3;
constexpr double most_valley = 0.2;
constexpr double most_unlike = 1;
constexpr double times_elsewhere = 0.7;
constexpr double most_of_label = 2.0 / 3;
// To tell an attack on most of a label from the class itself and mistakes.
constexpr double least_rest_keeping = 0.5;
constexpr std::int64_t most_at_once = 20000;  // images of a label, on each thread: 2 GB of 64x64 in colour
constexpr std::int64_t most_others = 3000;    // images of other labels to which a label's groups are held
// Of the groups that several labels have, the share that means another class than its label, and how many
// times that of the rest it is. Observed for BadNets all-to-all, seed 101: 0.90, 3.9 times.
constexpr double least_otherwise = 0.5;
constexpr double times_otherwise = 2;

bool suffice(const torch::Tensor& of_label, const torch::Tensor& others) {
  return of_label.numel() >= least_samples && others.numel() > 0;
}

Division undivided(std::int64_t samples) {
  Division none;
  none.apart = torch::zeros({samples}, torch::kBool);
  return none;
}

// The principal components, with unit variance, of the measurements that have the widest gaps.
class Components {
 public:
  // own [n,D]; order [n]: a permutation.
  Components(const torch::Tensor& own, const torch::Tensor& order) {
    const std::int64_t n = own.size(0);
    const torch::Tensor some = order.narrow(0, 0, std::min(n, most_measured));
    const torch::Tensor width = widest_gaps(own.index_select(0, some), least_group).width;
    chosen_ = width.argsort(0, /*descending=*/true).narrow(0, 0, std::min(most_coefficients, own.size(1)));
    const torch::Tensor all = own.index_select(1, chosen_);
    mean_ = all.mean(0);
    const torch::Tensor centred = all - mean_;
    const auto [variance, axes] =
        at::linalg_eigh((centred.t().mm(centred) / static_cast<double>(n)).to(torch::kDouble));
    const std::int64_t components = std::min({most_components, all.size(1), n / 20});
    basis_ = (axes / (variance.clamp_min(0) + 1e-6).sqrt())
                 .narrow(1, all.size(1) - components, components)
                 .to(torch::kFloat);
  }

  // measured [m,D] -> [m,k] float64.
  torch::Tensor operator()(const torch::Tensor& measured) const {
    return (measured.index_select(1, chosen_) - mean_).mm(basis_).to(torch::kDouble);
  }

  // The columns of measured [n,D] from which groups are looked for: [n,starts] float64.
  torch::Tensor first_of(const torch::Tensor& measured) const {
    return measured.index_select(1, chosen_.narrow(0, 0, std::min(starts, chosen_.numel())))
        .to(torch::kDouble);
  }

 private:
  torch::Tensor chosen_, mean_, basis_;
};

// How many samples lie midway between two groups, to how many lie about the centre of the one with fewer of
// them there. score [n]: where each sample lies; in [n] bool.
double valley(const torch::Tensor& score, const torch::Tensor& in) {
  const torch::Tensor from = score.index({in.logical_not()}).median(), to = score.index({in}).median();
  const torch::Tensor way = (score - from) / (to - from);
  const auto about = [&](double centre) { return (way - centre).abs().lt(0.15).sum().item<double>(); };
  return about(0.5) / std::max(1.0, std::min(about(0), about(1)));
}

// The better of two: an attack's before others, then the one with the wider gap.
bool is_better(const Division& a, const Division& b) {
  return a.is_attack() != b.is_attack() ? a.is_attack() : a.gap > b.gap;
}

// From a first guess at the group, by what is learned of it (see Halves::heard), until it no longer changes.
// Undivided unless the gap is wider than `enough`. others [m,k]: the same measurements of images of other
// labels; in [n] bool.
Division settled(const Samples& samples, const Halves& halves, const torch::Tensor& others, torch::Tensor in,
                 const Keeping& keeping, double enough) {
  const Division none = undivided(in.numel());
  torch::Tensor score;
  double gap = 0;
  for (int round = 0; round < rounds; ++round) {
    const torch::Tensor heard = halves.heard(in);
    if (!heard.defined()) return none;
    score = heard;
    const Gaps found = widest_gaps(score.unsqueeze(1), least_group);
    gap = found.width.item<double>();
    const torch::Tensor now = score.gt(found.threshold);
    const bool same = now.equal(in);
    in = now;
    if (same) break;
  }
  if (gap <= enough) return none;
  const auto between = discriminant(samples, in);
  if (!between) return none;
  Division found;
  found.gap = gap;
  const torch::Tensor theirs = (*between)(others);
  found.apart = share_of(theirs.gt(0)) <= 0.5 ? in : in.logical_not();
  // What lies beyond the middle need not lie where the group does: others differ in their own ways.
  const torch::Tensor within = (*between)(samples.z).index({found.apart});
  found.elsewhere = share_of(theirs.ge(within.min()).logical_and(theirs.le(within.max())));
  found.valley = valley(score, in);
  found.keeping = share_of(keeping.samples.index({found.apart}));
  found.rest_keeping =
      share_of(keeping.samples.index({found.apart.logical_not()})) / std::max(keeping.usual, 1e-12);
  return found;
}

// others [m,k]: the same measurements of images of other labels; first [n,starts]: what groups are looked for
// in; content: what else is known of the samples; half [n] int64, 0 or 1.
Division divide(const Samples& samples, const torch::Tensor& others, const torch::Tensor& first,
                const Samples& content, const Keeping& keeping, const torch::Tensor& half) {
  Division best = undivided(half.numel());
  const Halves halves(samples.z, half);
  for (std::int64_t start = 0; start < first.size(1); ++start) {
    const torch::Tensor coefficient = first.select(1, start);
    Division found = settled(samples, halves, others,
                             coefficient.gt(widest_gaps(coefficient.unsqueeze(1), least_group).threshold),
                             keeping, std::min(best.gap, least_treated_gap));
    if (found.gap == 0) continue;
    found.unlike = unlike(content, found.apart);
    if (is_better(found, best)) best = std::move(found);
  }
  return best;
}

Division divide(const Measurements& own, const Measurements& foreign, const Keeping& keeping,
                std::uint64_t seed) {
  const std::int64_t n = own[0].size(0);
  Division best = undivided(n);
  const torch::Tensor order = epoch_order(n, seed, 0);
  const torch::Tensor half = order.remainder(2);
  const Components of_pixels(own[pixels], order);
  const Samples content(of_pixels(own[pixels]));
  for (std::size_t view = 0; view < views; ++view) {
    const Components components = view == pixels ? of_pixels : Components(own[view], order);
    const Samples samples = view == pixels ? content : Samples(components(own[view]));
    Division found =
        divide(samples, components(foreign[view]), components.first_of(own[view]), content, keeping, half);
    if (is_better(found, best)) best = std::move(found);
  }
  return best;
}

// What find_divisions works with.
struct Search {
  const DatasetPtr& data;
  const Contradiction& contradiction;
  std::uint64_t seed;
  Relabellings relabellings;
};

// What an attack has set apart of n samples of one label, one group after the other.
struct Groups {
  torch::Tensor positions;                   // [n] int64
  torch::Tensor apart, relabelled, cleared;  // [n] bool: as in Divisions
  bool attacked = false;
  bool shared = false;  // a group with a wide gap that others have too
  double gap = 0;       // of the samples as a whole
};

// positions [n]; foreign: of images of other labels, of which `usual` mean theirs.
Groups groups_within(const Search& search, const torch::Tensor& positions, std::int64_t label,
                     const Measurements& foreign, double usual) {
  Groups found;
  found.positions = positions;
  found.apart = torch::zeros(positions.sizes(), torch::kBool);
  found.relabelled = torch::zeros_like(found.apart);
  found.cleared = torch::zeros_like(found.apart);
  const torch::Tensor means_label = search.contradiction.meaning.index_select(0, positions).eq(label);
  Measurements own = measurements(search.data, positions);
  torch::Tensor rest = torch::arange(positions.numel());  // of the positions
  for (bool again = false; rest.numel() >= least_samples; again = true) {
    const Division division = divide(own, foreign, {means_label.index_select(0, rest), usual}, search.seed);
    Relabelling relabelling;
    if (!division.is_attack()) {
      relabelling = search.relabellings.within(positions.index_select(0, rest), label);
    }
    const bool relabelled = relabelling.is_attack(), attack = division.is_attack() || relabelled;
    if (!again) {
      found.gap = relabelled ? relabelling.gap : division.gap;
      found.shared = !attack && division.is_wide() && !division.is_the_class();
    }
    if (found.shared) found.apart = division.apart;
    if (!attack) break;
    const torch::Tensor& apart = relabelled ? relabelling.apart : division.apart;
    const torch::Tensor group = rest.masked_select(apart);
    found.attacked = true;
    found.apart.index_fill_(0, group, true);
    const bool given = relabelled || division.is_relabelled();  // a label that it does not mean
    if (given) found.relabelled.index_fill_(0, group, true);
    torch::Tensor alike = relabelled ? relabelling.alike : apart.logical_not();
    if (!given) alike = torch::zeros_like(apart);
    found.cleared.index_put_({rest}, again ? alike.logical_and(found.cleared.index_select(0, rest)) : alike);
    // An attack that is not the same in all images may have set several groups apart.
    const torch::Tensor left = apart.logical_not().nonzero().squeeze(1);
    rest = rest.index_select(0, left);
    own = rows_of(own, left);
  }
  return found;
}

// Positions in parts that are measured at once, each drawn at random where there are several.
std::vector<torch::Tensor> in_parts(const torch::Tensor& positions, std::uint64_t seed) {
  const std::int64_t n = positions.numel(), parts = (n + most_at_once - 1) / most_at_once;
  if (parts <= 1) return {positions};
  return positions.index_select(0, epoch_order(n, seed, 0)).chunk(parts);
}

// Of each part of the samples of one label; of none if they do not suffice.
std::vector<Groups> groups_of(const Search& search, std::int64_t label) {
  std::vector<Groups> found;
  const torch::Tensor labels = search.data->labels();
  const torch::Tensor others = some_of(labels.ne(label), most_others, search.seed);
  const torch::Tensor all = labels.eq(label).nonzero().squeeze(1);
  if (!suffice(all, others)) return found;
  const Measurements foreign = measurements(search.data, others);
  const double usual =
      share_of(search.contradiction.meaning.index_select(0, others).eq(labels.index_select(0, others)));
  for (const torch::Tensor& part : in_parts(all, search.seed)) {
    found.push_back(groups_within(search, part, label, foreign, usual));
  }
  return found;
}

}  // namespace

Division divide(const DatasetPtr& data, const torch::Tensor& of_label, const torch::Tensor& others,
                const Keeping& keeping, std::uint64_t seed) {
  if (!suffice(of_label, others)) return undivided(of_label.numel());
  return divide(measurements(data, of_label), measurements(data, others), keeping, seed);
}

double Division::share() const { return share_of(apart); }
bool Division::is_wide() const { return gap >= least_gap; }
bool Division::is_unique() const { return elsewhere <= std::max(most_elsewhere, share() / 10); }
bool Division::keeps_label() const { return keeping > 0.5; }
bool Division::is_treatment() const {
  return gap >= least_treated_gap && valley <= most_valley && unlike <= most_unlike &&
         elsewhere <= times_elsewhere * share() && share() <= most_of_label && keeps_label();
}
bool Division::is_the_class() const {
  return keeps_label() && share() > most_of_label && rest_keeping < least_rest_keeping;
}
bool Division::is_relabelled() const { return is_wide() && is_unique() && keeping <= most_keeping; }
bool Division::is_attack() const { return is_treatment() || (is_wide() && is_unique() && !is_the_class()); }

Divisions find_divisions(const DatasetPtr& data, const Contradiction& contradiction, std::uint64_t seed) {
  const torch::Tensor labels = data->labels();
  const torch::Tensor& meaning = contradiction.meaning;
  const std::int64_t classes = data->num_classes();
  const Search search{data, contradiction, seed, {data, contradiction, seed}};
  // Their operations are too small for several threads; the labels are not.
  std::vector<std::vector<Groups>> of_labels(static_cast<std::size_t>(classes));
  parallel_each(
      classes, {"looking for groups within labels", "labels", 1, at::get_num_threads()},
      [&](std::int64_t label) { of_labels[static_cast<std::size_t>(label)] = groups_of(search, label); });
  Divisions found;
  found.attacked = torch::zeros({classes}, torch::kBool);
  found.apart = torch::zeros_like(labels, torch::kBool);
  found.relabelled = torch::zeros_like(found.apart);
  found.cleared = torch::zeros_like(found.apart);
  torch::Tensor shared = torch::zeros_like(found.attacked);  // labels with groups that others have too
  for (std::int64_t label = 0; label < classes; ++label) {
    found.gaps.push_back(0);
    bool attacked = false;
    for (const Groups& groups : of_labels[static_cast<std::size_t>(label)]) {
      found.gaps.back() = std::max(found.gaps.back(), groups.gap);
      attacked = attacked || groups.attacked;
      if (groups.attacked || groups.shared) found.attacked[label] = true;
      if (groups.shared) shared[label] = true;
      found.apart.index_put_({groups.positions}, groups.apart);
      found.relabelled.index_put_({groups.positions}, groups.relabelled);
      found.cleared.index_put_({groups.positions}, groups.cleared);
    }
    if (attacked) shared[label] = false;
  }
  // What merely looks different, whatever the class, means its label as often as the rest does.
  const torch::Tensor asked = shared.index_select(0, labels);
  const torch::Tensor otherwise = meaning.ne(labels);
  const double of_groups = share_of(otherwise.index({asked.logical_and(found.apart)})),
               of_rest = share_of(otherwise.index({asked.logical_and(found.apart.logical_not())}));
  const bool attacked = of_groups >= least_otherwise && of_groups >= times_otherwise * of_rest;
  if (!attacked) found.attacked.logical_and_(shared.logical_not());
  found.apart.logical_and_(found.attacked.index_select(0, labels));
  return found;
}

}  // namespace mcci
