#pragma once

#include <torch/types.h>

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

}  // namespace mcci
