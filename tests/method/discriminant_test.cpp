#include "mcci/method/discriminant.hpp"

#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace mcci {
namespace {

at::Tensor column(const std::vector<double>& values) { return at::tensor(values, at::kDouble).unsqueeze(1); }

at::Tensor mask(const std::vector<std::int64_t>& members) { return at::tensor(members, at::kLong).eq(1); }

TEST(DiscriminantTest, LiesMidwayAndCountsInDeviations) {
  // About 1 and 11, each with a variance of 1, to which a hundredth is added.
  const Samples samples(column({0, 2, 10, 12}));
  const auto between = discriminant(samples, mask({0, 0, 1, 1}));
  ASSERT_TRUE(between);
  const at::Tensor said = (*between)(column({6, 11, 1}));
  const double five = 5 / std::sqrt(1.01);
  EXPECT_TRUE(at::allclose(said, at::tensor({0.0, five, -five}, at::kDouble))) << said;
  EXPECT_FALSE(discriminant(samples, mask({0, 0, 0, 0})));
  EXPECT_FALSE(discriminant(samples, mask({1, 1, 1, 1})));
}

TEST(DiscriminantTest, LooksPastWhatBothGroupsVaryBy) {
  // The first column varies a hundred times as much as the groups differ by, the second hardly.
  at::manual_seed(1);
  const at::Tensor noise = 100 * at::randn({200, 1}, at::kDouble), in = at::arange(200).ge(100);
  const at::Tensor z =
      at::cat({noise, 0.1 * at::randn({200, 1}, at::kDouble) + in.to(at::kDouble).unsqueeze(1)}, 1);
  const auto between = discriminant(Samples(z), in);
  ASSERT_TRUE(between);
  EXPECT_TRUE((*between)(z).gt(0).equal(in));
}

TEST(HalvesTest, AreHeardByWhatTheOtherHasLearned) {
  // The halves' groups lie at 0 and 10, and at 0 and 20: each is measured by the other's middle.
  const at::Tensor half = at::tensor({0, 0, 0, 0, 1, 1, 1, 1}, at::kLong);
  const at::Tensor z = column({-1, 1, 9, 11, -1, 1, 19, 21});
  const at::Tensor in = mask({0, 0, 1, 1, 0, 0, 1, 1});
  const at::Tensor score = Halves(z, half).heard(in);
  ASSERT_TRUE(score.defined());
  const double unit = 1 / std::sqrt(1.01);
  EXPECT_TRUE(at::allclose(score, unit * at::tensor({-11., -9., -1., 1., -6., -4., 14., 16.}, at::kDouble)))
      << score;
  // A group that is all of one half and half of the other is no group.
  EXPECT_FALSE(Halves(z, half).heard(mask({1, 1, 1, 1, 0, 0, 1, 1})).defined());
  // Neither is one that is all of both.
  EXPECT_FALSE(Halves(z, half).heard(at::ones({8}, at::kBool)).defined());
}

TEST(UnlikeTest, ComparesCovariances) {
  // Variances of 1 and 9, 5 within: (1 - 9)^2 / 5.01^2.
  const Samples samples(column({-1, 1, -1, 1, 7, 13, 7, 13}));
  EXPECT_NEAR(unlike(samples, mask({1, 1, 1, 1, 0, 0, 0, 0})), 64 / (5.01 * 5.01), 1e-9);
  const Samples alike(column({-1, 1, -1, 1, 9, 11, 9, 11}));
  EXPECT_NEAR(unlike(alike, mask({1, 1, 1, 1, 0, 0, 0, 0})), 0, 1e-12);
}

}  // namespace
}  // namespace mcci
