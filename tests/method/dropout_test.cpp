#include "mcci/method/dropout.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace mcci {
namespace {

constexpr double rate = 0.3;

at::Tensor some_values() { return at::rand({8, 5, 33, 31}) + 1; }

TEST(Dropout, DropsItsShareAndKeepsTheMean) {
  Dropout dropout(rate);
  at::manual_seed(1);
  const at::Tensor x = some_values();
  const at::Tensor y = dropout(x);
  const at::Tensor kept = y.ne(0);
  EXPECT_TRUE(at::allclose(y, x * kept / (1 - rate), 1e-4));
  // Five standard deviations of the share of 40,920 values.
  EXPECT_NEAR(kept.to(at::kFloat).mean().item<double>(), 1 - rate, 0.012);
  // No value depends on its neighbour, though four come from one number.
  const at::Tensor flat = kept.flatten().to(at::kFloat) - (1 - rate);
  for (const std::int64_t distance : {1, 2, 3, 4}) {
    const std::int64_t pairs = flat.size(0) - distance;
    const at::Tensor products = flat.narrow(0, 0, pairs) * flat.narrow(0, distance, pairs);
    EXPECT_NEAR(products.mean().item<double>(), 0, 5 * rate * (1 - rate) / 200) << distance;
  }
}

TEST(Dropout, IsAFunctionOfTheSeed) {
  Dropout dropout(rate);
  const at::Tensor x = some_values();
  const auto drop = [&](std::uint64_t seed) {
    at::manual_seed(seed);
    return dropout(x);
  };
  EXPECT_TRUE(at::equal(drop(1), drop(1)));
  EXPECT_FALSE(at::equal(drop(1), drop(2)));
}

TEST(Dropout, KeepsTypeAndLayout) {
  Dropout dropout(rate);
  const at::Tensor x = some_values().to(at::kBFloat16).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor y = dropout(x);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(y.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_EQ(dropout(x.narrow(2, 1, 2)).sizes(), at::IntArrayRef({8, 5, 2, 31}));
}

TEST(Dropout, GradientIsThatOfWhatWasKept) {
  Dropout dropout(rate);
  const at::Tensor x = some_values().requires_grad_();
  const at::Tensor y = dropout(x);
  y.sum().backward();
  EXPECT_TRUE(at::allclose(x.grad(), y.detach() / x.detach()));
}

TEST(Dropout, IsNothingInEvaluation) {
  Dropout dropout(rate);
  dropout->eval();
  const at::Tensor x = some_values();
  EXPECT_TRUE(dropout(x).is_same(x));
}

}  // namespace
}  // namespace mcci
