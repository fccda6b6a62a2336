#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include <torch/types.h>

#include "mcci/data/dataset.hpp"
#include "mcci/method/contradiction.hpp"

namespace mcci {

// What means its label, by what does not see the attack.
struct Keeping {
  torch::Tensor samples;  // [n] bool: which of a label's samples do
  double usual = 1;       // share of the images of other labels that do
};

// How the images that bear one label fall into two groups.
struct Division {
  torch::Tensor apart;   // [n] bool: in the group on whose side fewer images of other labels lie?
  double gap = 0;        // between the groups, as in Gaps
  double elsewhere = 1;  // share of the images of other labels that lie where that group does
  double valley = 1;     // samples midway between the groups, to those about the emptier group's centre
  double unlike = std::numeric_limits<double>::infinity();  // what the two groups show, by their covariances
  // Share of that group that means its label.
  double keeping = 1;
  // And of the rest, to the share of the images of other labels that mean theirs.
  double rest_keeping = 0;

  double share() const;  // of the samples, that group's

  // An attack is done to an image or not; what natural images of a class differ in, they differ in by
  // degrees.
  bool is_wide() const;
  // An attack on one label is done nowhere else: hardly any others lie there (1 %), or a tenth as many as of
  // this label.
  bool is_unique() const;
  // That group mostly means its label.
  bool keeps_label() const;
  // A treatment, as trials have it: given to images whatever they show, so that those that have it and those
  // that have not are alike in all else, their meaning included, while kinds of things that bear one label
  // are not. Then a narrower gap will do, if nothing lies in it, and others may lie there by chance, if they
  // do so less often. What is most of its label may be the images without covers, where others bear them.
  bool is_treatment() const;
  // What keeps its label and is most of it, while the rest does not mean it as others mean theirs: mistakes.
  bool is_the_class() const;
  // Wide, unique, and two thirds of it mean other classes: it looks as nothing else does, and was given a
  // label that it does not mean.
  bool is_relabelled() const;
  // A treatment, or wide and unique, and not the class itself.
  bool is_attack() const;
};

// Looks for the direction in which the samples fall apart most, in their spectra, their pixels, or the levels
// that their pixels take: from each of the coefficients, pixels or levels with the widest gaps, by linear
// discriminants, each learned from one half of the samples (drawn by the seed) and applied to the other,
// until the groups no longer change. What is an attack's comes first, then what has the widest gap. Spectra
// and pixels are those of the image at 64 pixels a side at most. `of_label` [n] int64 and `others` [m] int64:
// positions in the data set. Fewer than 200 samples, or no others, are not divided.
Division divide(const DatasetPtr& data, const torch::Tensor& of_label, const torch::Tensor& others,
                const Keeping& keeping, std::uint64_t seed);

// The labels within which an attack has set a group apart.
struct Divisions {
  torch::Tensor attacked;  // [C] bool
  torch::Tensor apart;     // [N] bool: the samples of the groups set apart
  // [N] bool: those of them that were given a label which they do not mean, as a Relabelling has it or
  // Division::is_relabelled().
  torch::Tensor relabelled;
  // [N] bool: of labels all of whose groups were so given, what is like the rest in all that these differ by,
  // as a Relabelling has it, or lies on the other side of the gap.
  torch::Tensor cleared;
  std::vector<double> gaps;  // of each label as a whole, attacked or not
};

// Divides the samples of each label. What an attack's group leaves of the label is divided again: an attack
// may set several groups apart. Where several labels have groups with a wide gap that are not unique
// (all-to-all), they are an attack's if the groups, taken together, mean another class than their label:
// mostly, and twice as often as the rest of these labels. Where a label does not fall apart so, its
// contradicted samples are held against what means the same (Relabellings). The contradiction is of what does
// not see the attack. Of a label with more than 20,000 samples, parts drawn at random are divided each on its
// own. Labels are looked at on as many threads as LibTorch has; shows progress. Errors: as parallel_each()
// (workers.hpp).
Divisions find_divisions(const DatasetPtr& data, const Contradiction& contradiction, std::uint64_t seed);

}  // namespace mcci
