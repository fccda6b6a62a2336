#include "mcci/method/keyholes.hpp"

#include <cstdint>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace mcci {
namespace {

// [1,1,32,32]: a bright square, top left, on black.
at::Tensor square() {
  at::Tensor image = at::zeros({1, 1, 32, 32});
  image.narrow(2, 4, 12).narrow(3, 4, 12).fill_(0.9);
  return image;
}

at::Tensor through_keyholes(Keyholes& keyholes, const at::Tensor& image) {
  const at::NoGradGuard no_grad;
  return keyholes->forward(image, at::full({1, 1}, 0.5)).flatten(1, 2).squeeze(1);
}

TEST(KeyholesTest, DoNotSeeWhatLiesOutsideTheirWindow) {
  torch::manual_seed(1);
  Keyholes keyholes(1, 4);
  keyholes->eval();
  const at::Tensor before = through_keyholes(keyholes, square());
  at::Tensor patched = square();
  patched.narrow(2, 24, 8).narrow(3, 24, 8).fill_(0.9);
  const at::Tensor after = through_keyholes(keyholes, patched);
  ASSERT_EQ(before.sizes(), (std::vector<std::int64_t>{Keyholes::Impl::count, 4}));
  // The whole image, its top, bottom, left and right half.
  const std::vector<bool> sees_the_corner = {true, false, true, false, true};
  for (std::size_t i = 0; i < sees_the_corner.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    EXPECT_EQ(!before[at].equal(after[at]), sees_the_corner[i]) << i;
  }
}

TEST(KeyholesTest, AreBlindToAFaintPatternAndToBrightness) {
  torch::manual_seed(1);
  Keyholes keyholes(1, 4);
  keyholes->eval();
  const at::Tensor before = through_keyholes(keyholes, square());
  torch::manual_seed(2);
  const at::Tensor faint = square() * 0.9 + 0.1 * at::rand({1, 1, 32, 32});
  EXPECT_TRUE(through_keyholes(keyholes, faint).equal(before));
  EXPECT_TRUE(through_keyholes(keyholes, 0.1 + 0.5 * square()).equal(before));
}

TEST(KeyholesTest, TakeAnySizeAndChannels) {
  Keyholes keyholes(3, 7);
  const at::Tensor logits = keyholes_in_training(keyholes, at::rand({5, 3, 28, 45}));
  EXPECT_EQ(logits.sizes(), (std::vector<std::int64_t>{Keyholes::Impl::count, 5, 7}));
}

}  // namespace
}  // namespace mcci
