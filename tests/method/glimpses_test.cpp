#include "mcci/method/glimpses.hpp"

#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace mcci {
namespace {

Glimpses some_glimpses(const ImageShape& shape) {
  torch::manual_seed(1);
  Glimpses glimpses(shape, 4);
  glimpses->eval();
  return glimpses;
}

// Of one image, what each window shows of it: [count, classes].
at::Tensor through(Glimpses& glimpses, const at::Tensor& image) {
  const at::NoGradGuard no_grad;
  return glimpses->forward(image).squeeze(1);
}

TEST(GlimpsesTest, DoNotSeeWhatLiesOutsideTheirWindow) {
  Glimpses glimpses = some_glimpses({1, 32, 32});
  const at::Tensor image = 0.5 * at::rand({1, 1, 32, 32});
  const at::Tensor before = through(glimpses, image);
  ASSERT_EQ(before.sizes(), (std::vector<std::int64_t>{Glimpses::Impl::count, 4}));
  // Top left, top right, bottom left, bottom right; the windows' sides are 24.
  const auto changed = [&](std::int64_t row, std::int64_t column) {
    at::Tensor patched = image.clone();
    patched.narrow(2, row, 3).narrow(3, column, 3).fill_(1);
    const at::Tensor after = through(glimpses, patched);
    std::vector<bool> found;
    for (std::int64_t i = 0; i < Glimpses::Impl::count; ++i) found.push_back(!before[i].equal(after[i]));
    return found;
  };
  EXPECT_EQ(changed(29, 29), (std::vector<bool>{false, false, false, true}));
  EXPECT_EQ(changed(0, 24), (std::vector<bool>{false, true, false, false}));
  EXPECT_EQ(changed(29, 0), (std::vector<bool>{false, false, true, false}));
  EXPECT_EQ(changed(14, 14), (std::vector<bool>{true, true, true, true}));
}

TEST(GlimpsesTest, LearnFromOneWindowDrawnAnew) {
  Glimpses glimpses = some_glimpses({1, 32, 32});
  const at::NoGradGuard no_grad;
  at::Tensor image = at::zeros({1, 1, 32, 32});
  const at::Tensor nothing = glimpses->at_random(image);
  ASSERT_EQ(nothing.sizes(), (std::vector<std::int64_t>{1, 4}));
  image.narrow(2, 31, 1).narrow(3, 31, 1).fill_(1);
  int seen = 0;  // of 81 places of the window one shows the corner
  torch::manual_seed(3);
  for (int i = 0; i < 810; ++i) seen += glimpses->at_random(image).equal(nothing) ? 0 : 1;
  EXPECT_GE(seen, 1);
  EXPECT_LE(seen, 30);
}

TEST(GlimpsesTest, TakeAnySizeAndChannels) {
  for (const ImageShape& shape : {ImageShape{3, 28, 45}, ImageShape{1, 5, 7}, ImageShape{3, 100, 20}}) {
    Glimpses glimpses(shape, 7);
    const at::Tensor images = at::rand({5, shape.channels, shape.height, shape.width});
    EXPECT_EQ(glimpses->forward(images).sizes(), (std::vector<std::int64_t>{Glimpses::Impl::count, 5, 7}));
    EXPECT_EQ(glimpses->at_random(images).sizes(), (std::vector<std::int64_t>{5, 7}));
  }
}

}  // namespace
}  // namespace mcci
