#include "mcci/method/gaps.hpp"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

// Values at the quantiles of a standard normal distribution, [n,1].
at::Tensor normal_quantiles(std::int64_t n) {
  const at::Tensor p = (at::arange(n, at::kDouble) + 0.5) / static_cast<double>(n);
  return at::erfinv(2 * p - 1).mul(std::sqrt(2.0)).unsqueeze(1);
}

TEST(WidestGaps, AreFoundBetweenTwoGroups) {
  // Two groups of deviation 1 and 2 about 0 and 12, in the second column the other way round.
  const at::Tensor first = normal_quantiles(300), second = 12 + 2 * normal_quantiles(100);
  const at::Tensor one = at::cat({first, second});
  const Gaps found = widest_gaps(at::cat({one, -one}, 1), 0.03);
  const double expected = 12 / (first.std(0, false).item<double>() + second.std(0, false).item<double>());
  for (std::int64_t column = 0; column < 2; ++column) {
    EXPECT_NEAR(found.width[column].item<double>(), expected, 0.01);
    const double threshold = found.threshold[column].item<double>() * (column == 0 ? 1 : -1);
    EXPECT_GT(threshold, first.max().item<double>());
    EXPECT_LT(threshold, second.min().item<double>());
  }
}

TEST(WidestGaps, OfOneGroupAreNarrow) {
  const at::Tensor normal = normal_quantiles(2000);
  EXPECT_NEAR(widest_gaps(normal, 0.5).width.item<double>(), 1.32, 0.02);
  EXPECT_LT(widest_gaps(normal, 0.03).width.item<double>(), 1.9);
  EXPECT_DOUBLE_EQ(widest_gaps(at::full({10, 1}, 3.0), 0.03).width.item<double>(), 0);
}

TEST(WidestGaps, LeaveTheLeastShareOnEitherSide) {
  at::Tensor values = normal_quantiles(1000);
  values[0] = -1000;
  EXPECT_LT(widest_gaps(values, 0.03).threshold.item<double>(), 1000);
  EXPECT_GE(values.gt(widest_gaps(values, 0.03).threshold).sum().item<std::int64_t>(), 30);
  EXPECT_LE(values.gt(widest_gaps(values, 0.03).threshold).sum().item<std::int64_t>(), 970);
  EXPECT_THROW(widest_gaps(at::zeros({1, 3}), 0.03), Error);
}

TEST(WidestGaps, AreTheSameHoweverManyColumnsThereAre) {
  at::manual_seed(1);
  const at::Tensor values = at::randn({100, 150});
  const Gaps all = widest_gaps(values, 0.1);
  for (const std::int64_t column : {0, 63, 64, 149}) {
    const Gaps one = widest_gaps(values.narrow(1, column, 1), 0.1);
    EXPECT_TRUE(all.width.narrow(0, column, 1).equal(one.width)) << column;
    EXPECT_TRUE(all.threshold.narrow(0, column, 1).equal(one.threshold)) << column;
  }
}

}  // namespace
}  // namespace mcci
