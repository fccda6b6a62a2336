#include "mcci/baselines/clustering.hpp"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>

#include "mcci/core/random.hpp"

namespace mcci {
namespace {

constexpr int starts = 10;
constexpr int max_iterations = 300;
constexpr std::int64_t rows_at_once = 1024;

// Squared distances [n, 2].
at::Tensor squared_distances(const at::Tensor& points, const at::Tensor& centres) {
  return (points.unsqueeze(1) - centres.unsqueeze(0)).square().sum(2);
}

// The second centre is drawn with a probability proportional to its squared distance from the first.
at::Tensor first_centres(const at::Tensor& points, Rng& rng) {
  const at::Tensor first = points[rng.below(points.size(0))];
  const at::Tensor reach = (points - first).square().sum(1).cumsum(0);
  const at::Tensor drawn = at::full({1}, rng.uniform() * reach[-1].item<double>(), at::kDouble);
  const auto second =
      std::min(at::searchsorted(reach, drawn, /*out_int32=*/false, /*right=*/true).item<std::int64_t>(),
               points.size(0) - 1);
  return at::stack({first, points[second]});
}

}  // namespace

at::Tensor principal_components(const at::Tensor& points, std::int64_t dimensions, bool whitened) {
  const at::Tensor centred = points.to(at::kDouble) - points.to(at::kDouble).mean(0, /*keepdim=*/true);
  const auto [variances, directions] = at::linalg_eigh(
      centred.t().mm(centred) / static_cast<double>(std::max<std::int64_t>(1, points.size(0))));
  const std::int64_t d = std::min(dimensions, points.size(1));
  const at::Tensor coordinates = centred.mm(directions.narrow(1, points.size(1) - d, d));
  if (!whitened) return coordinates;
  return coordinates / variances.narrow(0, points.size(1) - d, d).clamp_min(1e-12).sqrt();
}

TwoClusters two_means(const at::Tensor& points, std::uint64_t seed) {
  TwoClusters best;
  double least = std::numeric_limits<double>::infinity();
  for (std::uint64_t start = 0; start < starts; ++start) {
    Rng rng(derive_seed(seed, "k-means", {start}));
    at::Tensor centres = first_centres(points, rng);
    at::Tensor assignment;
    for (int i = 0; i < max_iterations; ++i) {
      const at::Tensor nearest = squared_distances(points, centres).argmin(1);
      if (assignment.defined() && assignment.equal(nearest)) break;
      assignment = nearest;
      for (std::int64_t k = 0; k < 2; ++k) {
        const at::Tensor members = assignment.eq(k).nonzero().squeeze(1);
        if (members.numel() > 0) centres[k] = points.index_select(0, members).mean(0);
      }
    }
    const double within = std::get<0>(squared_distances(points, centres).min(1)).sum().item<double>();
    if (within < least) {
      least = within;
      best = {centres, squared_distances(points, centres).argmin(1)};
    }
  }
  return best;
}

double silhouette(const at::Tensor& points, const at::Tensor& assignment) {
  const at::Tensor is_second = assignment.to(at::kDouble);
  const at::Tensor sizes = at::stack({(1 - is_second).sum(), is_second.sum()});
  if (sizes.min().item<double>() < 1) return 0;
  const at::Tensor membership = at::stack({1 - is_second, is_second}, 1);  // [n, 2]
  double sum = 0;
  for (std::int64_t begin = 0; begin < points.size(0); begin += rows_at_once) {
    const std::int64_t rows = std::min(rows_at_once, points.size(0) - begin);
    const at::Tensor totals = at::cdist(points.narrow(0, begin, rows), points).mm(membership);
    const at::Tensor own = assignment.narrow(0, begin, rows).unsqueeze(1);
    const at::Tensor own_size = sizes.index_select(0, own.squeeze(1));
    const at::Tensor a = totals.gather(1, own).squeeze(1) / (own_size - 1).clamp_min(1);
    const at::Tensor b = totals.gather(1, 1 - own).squeeze(1) / sizes.index_select(0, 1 - own.squeeze(1));
    const at::Tensor widths = (b - a) / at::maximum(a, b).clamp_min(1e-12);
    sum += at::where(own_size.gt(1), widths, at::zeros_like(widths)).sum().item<double>();
  }
  return sum / static_cast<double>(points.size(0));
}

at::Tensor nearest_centres(const at::Tensor& points, const at::Tensor& labels, const at::Tensor& counted,
                           std::int64_t num_classes) {
  std::vector<at::Tensor> distances;
  for (std::int64_t c = 0; c < num_classes; ++c) {
    const at::Tensor members = labels.eq(c).logical_and(counted).nonzero().squeeze(1);
    distances.push_back(
        members.numel() > 0
            ? (points - points.index_select(0, members).mean(0, /*keepdim=*/true)).square().sum(1)
            : at::full({points.size(0)}, std::numeric_limits<double>::infinity(), points.options()));
  }
  return at::stack(distances, 1).argmin(1);
}

}  // namespace mcci
