#pragma once

#include <cstdint>

#include <torch/types.h>

#include "mcci/data/dataset.hpp"
#include "mcci/method/contradiction.hpp"

namespace mcci {

constexpr double most_keeping = 1.0 / 3;  // of what was given a label that it does not mean: share that does

// Images that were given a label although they mean other classes, and that differ, in the same way, from all
// that means what they do. A mistaken label is no such thing: its images look as others do of their meaning.
struct Relabelling {
  torch::Tensor apart;  // [n] bool: those of the label's samples
  // [n] bool: those that differ so no more than the rest of the label does: within three standard deviations.
  torch::Tensor alike;
  double gap = 0;        // between them and the rest of the label, along that difference, as in Gaps
  double elsewhere = 1;  // share of the images of other labels that differ so
  double keeping = 1;    // share of those set apart that mean the label

  // How widely the rest of the label varies along that difference, over how images of other labels do: what
  // an attack has left of it is natural. Where a trigger has all strengths, those set apart are its strongest
  // only.
  double unrest = 0;

  double share() const;  // of the samples, those set apart
  // The gap, times what the difference says for the label: log(share / elsewhere), in nats. Kinds of things
  // that are taken for other classes, striped shirts, are found among these too.
  double strength() const;
  // Wide, mostly of other meanings, strong, and nothing of it left behind.
  bool is_attack() const;
};

// Finds such images, though they be few and the difference faint: thousands of images, of all labels, whose
// meaning is confirmed say how little some combinations of pixels vary once the mean of the class is taken
// away. What an image departs from its class by is measured in all principal components of that, with unit
// variance, and none counts for more than three standard deviations: natural images are odd in few of them.
// What the means of the classes differ by from each other is no departure: there the meaning is mistaken, not
// the label.
class Relabellings {
 public:
  // Images are seen at 55 pixels a side at most, 32 in colour. The contradiction is of what does not see the
  // attack; the seed draws samples and halves.
  Relabellings(DatasetPtr data, Contradiction contradiction, std::uint64_t seed);

  // of_label [n] int64: positions of samples that bear the label. The first direction is the mean departure
  // of those that are contradicted, poison and honest mistakes alike; what lies beyond half of it gives the
  // next, until it no longer changes; one half of the samples is heard along what the other has given. Fewer
  // than 20 contradicted samples, or nothing confirmed, set none apart.
  Relabelling within(const torch::Tensor& of_label, std::int64_t label) const;

 private:
  torch::Tensor departures(const torch::Tensor& positions) const;  // [m] int64 -> [m,k]

  DatasetPtr data_;
  Contradiction contradiction_;
  std::uint64_t seed_;
  std::int64_t side_;              // pixels
  torch::Tensor means_;            // [C,D] float32: of each class
  torch::Tensor basis_;            // [D,k] float32; undefined where nothing is confirmed
  torch::Tensor natural_;          // [k,C-1]: what the classes' means differ by, orthonormal
  torch::Tensor some_;             // [M] int64: positions drawn from the whole set
  torch::Tensor some_departures_;  // [M,k]: theirs
};

}  // namespace mcci
