#include "mcci/signal/pooling.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace mcci {
namespace {

TEST(PoolingTest, AveragesWhatIsLarger) {
  const at::Tensor images = at::arange(16, at::kFloat).view({1, 1, 4, 4});
  EXPECT_TRUE(pooled(images, 2).equal(at::tensor({2.5F, 4.5F, 10.5F, 12.5F}).view({1, 1, 2, 2})));
  // A side at a time.
  EXPECT_TRUE(
      pooled(images.narrow(2, 0, 2), 2).equal(at::tensor({0.5F, 2.5F, 4.5F, 6.5F}).view({1, 1, 2, 2})));
}

TEST(PoolingTest, LeavesTheRestAlone) {
  const at::Tensor images = at::rand({2, 3, 5, 4});
  EXPECT_TRUE(pooled(images, 5).is_same(images));
}

}  // namespace
}  // namespace mcci
