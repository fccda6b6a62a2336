#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace mcci {

// The coordinates of points [n, D] along their `dimensions` first principal directions, centred: [n, d]
// float64 with d <= dimensions and d <= D. Whitened: each with variance 1, where there is any.
at::Tensor principal_components(const at::Tensor& points, std::int64_t dimensions, bool whitened);

struct TwoClusters {
  at::Tensor centres;     // [2, d] float64
  at::Tensor assignment;  // [n] int64: the nearer centre
};
// k-means with two centres: the best of ten starts by k-means++ (Arthur and Vassilvitskii, 2007), drawn by
// the seed. points [n >= 2, d] float64.
TwoClusters two_means(const at::Tensor& points, std::uint64_t seed);

// The mean silhouette of a clustering into two (Rousseeuw 1987), in [-1, 1]: (b - a) / max(a, b), with a and
// b the mean distances to the own and to the other cluster; 0 for a cluster of one.
double silhouette(const at::Tensor& points, const at::Tensor& assignment);

// For each of points [n, D] the class whose centre is the nearest: [n] int64. A centre is the mean of the
// points of its label (labels [n] int64) that `counted` ([n] bool) names; a class without any is nobody's.
at::Tensor nearest_centres(const at::Tensor& points, const at::Tensor& labels, const at::Tensor& counted,
                           std::int64_t num_classes);

}  // namespace mcci
