#include "mcci/signal/high_pass.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace mcci {
namespace {

TEST(HighPass, KeepsEdgesAndRemovesSmoothContent) {
  EXPECT_LT(high_pass(at::full({1, 1, 8, 8}, 0.7)).abs().max().item<double>(), 1e-6);
  at::Tensor dot = at::zeros({1, 1, 8, 8});
  dot[0][0][4][4] = 1.0;
  const at::Tensor out = high_pass(dot);
  EXPECT_NEAR(out[0][0][4][4].item<double>(), 8.0 / 9, 1e-6);
  EXPECT_NEAR(out[0][0][3][4].item<double>(), -1.0 / 9, 1e-6);
  EXPECT_NEAR(out[0][0][2][4].item<double>(), 0, 1e-6);
}

}  // namespace
}  // namespace mcci
