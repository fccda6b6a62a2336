#pragma once

#include <cstdint>

#include <torch/types.h>

#include "mcci/data/dataset.hpp"

namespace mcci {

// A threshold on one measurement of many samples, and how wide the gap is that it lies in: the distance of
// the two means over the sum of the two standard deviations. Of a Gaussian it is 1.3 at the middle and
// below 1.9 anywhere.
struct Gaps {
  torch::Tensor threshold;  // [D] float64
  torch::Tensor width;      // [D] float64
};

// The widest gap in each column of values [N,D] that leaves at least `least_share` of the samples on either
// side. A column that does not vary has width 0. Errors: internal for fewer than two samples.
Gaps widest_gaps(const torch::Tensor& values, double least_share);

// How the images that bear one label fall into two groups.
struct Division {
  torch::Tensor apart;   // [n] bool: is the sample in the group in which fewer images of other labels are?
  double gap = 0;        // between the groups, as in Gaps
  double elsewhere = 1;  // share of the images of other labels that fall into that group

  // An attack is done to an image or not, and it is done nowhere else; what natural images of a class differ
  // in, they differ in by degrees, and other classes differ in it too.
  bool looks_done() const;
};

// Looks for the direction in which the spectra of the samples fall apart most: from each of the coefficients
// with the widest gaps, by linear discriminants, each learned from one half of the samples (drawn by the
// seed) and applied to the other, until the groups no longer change. Images are seen at 64 pixels a side at
// most. `of_label` [n] int64 and `others` [m] int64: positions in the data set. Fewer than 200 samples, or no
// others, are not divided.
Division divide(const DatasetPtr& data, const torch::Tensor& of_label, const torch::Tensor& others,
                std::uint64_t seed);

}  // namespace mcci
