#include "mcci/method/pixels.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace mcci {
namespace {

TEST(PixelsTest, AreThoseOfTheChosenImagesAveragedWhereThereAreMore) {
  const at::Tensor images = at::arange(3 * 16).view({3, 1, 4, 4}).to(at::kByte);
  const DatasetPtr data = make_memory_dataset(images, at::zeros({3}, at::kLong), {"a"});
  const at::Tensor chosen = at::tensor({2, 0}, at::kLong);
  const at::Tensor whole = pixels_of(data, chosen, 4);
  EXPECT_TRUE(at::allclose(whole, images.index_select(0, chosen).flatten(1).to(at::kFloat) / 255));
  // The means of 0, 1, 4, 5 and so on, of the third image and the first.
  const at::Tensor halves = at::tensor({2.5F, 4.5F, 10.5F, 12.5F});
  EXPECT_TRUE(at::allclose(pixels_of(data, chosen, 2) * 255, at::stack({halves + 32, halves}), 1e-4, 1e-4));
}

TEST(PixelsTest, MeansOfGroupsByHand) {
  const at::Tensor rows = at::tensor({1.0, 2.0, 3.0, 4.0, 5.0, 9.0}, at::kDouble).view({3, 2});
  const at::Tensor means = means_of(rows, at::tensor({2, 0, 2}, at::kLong), 3);
  EXPECT_TRUE(means.equal(at::tensor({3.0, 4.0, 0.0, 0.0, 3.0, 5.5}, at::kDouble).view({3, 2})));
}

}  // namespace
}  // namespace mcci
