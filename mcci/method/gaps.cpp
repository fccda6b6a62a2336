#include "mcci/method/gaps.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

constexpr std::int64_t columns_at_once = 64;  // whose gaps are looked for

// A row for each column of values [n,k], its entries in order: [k,n] float64. LibTorch's sort says where they
// came from as well, and takes half as long again.
torch::Tensor sorted_columns(const torch::Tensor& values) {
  torch::Tensor rows = torch::nan_to_num(values.t().to(torch::kDouble)).contiguous();
  const std::int64_t n = rows.size(1);
  for (std::int64_t row = 0; row < rows.size(0); ++row) {
    double* const first = rows.data_ptr<double>() + row * n;
    std::sort(first, first + n);
  }
  return rows;
}

// widest_gaps() of some columns, with at least so many samples on either side.
Gaps gaps_of_some(const torch::Tensor& values, std::int64_t least) {
  const std::int64_t n = values.size(0);
  const torch::Tensor sorted = sorted_columns(values);
  const torch::Tensor centred = sorted - sorted.mean(1, /*keepdim=*/true);
  // Entry i: the first i + least samples on the one side.
  const std::int64_t cuts = n - 2 * least + 1;
  const torch::Tensor sum = centred.cumsum(1).narrow(1, least - 1, cuts);
  const torch::Tensor squared = centred.square();
  const torch::Tensor squares = squared.cumsum(1).narrow(1, least - 1, cuts);
  const torch::Tensor below = torch::arange(least, least + cuts, centred.options());
  const torch::Tensor above = static_cast<double>(n) - below;
  const torch::Tensor total = squared.sum(1, /*keepdim=*/true);
  const torch::Tensor mean_below = sum / below, mean_above = -sum / above;
  const torch::Tensor deviation_below = (squares / below - mean_below.square()).clamp_min(0).sqrt();
  const torch::Tensor deviation_above = ((total - squares) / above - mean_above.square()).clamp_min(0).sqrt();
  // What varies by less than a thousandth of the whole is rounding.
  const torch::Tensor floor = 1e-3 * (total / static_cast<double>(n)).sqrt() + 1e-12;
  const torch::Tensor width = (mean_above - mean_below) / (deviation_below + deviation_above + floor);
  const auto [widest, cut] = width.max(1);
  const torch::Tensor position = (cut + (least - 1)).unsqueeze(1);
  return {((sorted.gather(1, position) + sorted.gather(1, position + 1)) / 2).squeeze(1), widest};
}

}  // namespace

Gaps widest_gaps(const torch::Tensor& values, double least_share) {
  const std::int64_t n = values.size(0);
  if (n < 2) throw Error(ErrorKind::internal, "a gap needs two samples", "widest_gaps", "give more");
  const auto least = std::clamp<std::int64_t>(std::llround(least_share * static_cast<double>(n)), 1, n / 2);
  // So many at a time that what is computed on the way stays in the processor's cache: twice as fast.
  std::vector<torch::Tensor> thresholds, widths;
  for (const torch::Tensor& some : values.split(columns_at_once, 1)) {
    const Gaps gaps = gaps_of_some(some, least);
    thresholds.push_back(gaps.threshold);
    widths.push_back(gaps.width);
  }
  return {torch::cat(thresholds), torch::cat(widths)};
}

}  // namespace mcci
