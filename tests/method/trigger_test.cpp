#include "mcci/method/trigger.hpp"

#include <cstdint>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/types.h>

namespace mcci {
namespace {

// 400 grey images of two classes, noise around 80 and around 160; the second half of them with a trigger on
// it.
DatasetPtr with_trigger(const Trigger& trigger) {
  torch::manual_seed(3);
  const at::Tensor labels = at::arange(400).remainder(2);
  at::Tensor images = (80 + 80 * labels).view({-1, 1, 1, 1}) / 255.0 + 0.1 * at::randn({400, 1, 8, 8});
  images.clamp_(0, 1);
  images.narrow(0, 200, 200).copy_(put_on(trigger, images.narrow(0, 200, 200), at::ones({1})));
  return make_memory_dataset(images.mul(255).round().to(at::kByte), labels, {"a", "b"});
}

TEST(TriggerTest, IsFoundFromTheFirstTwoMoments) {
  Trigger truth{at::ones({1, 8, 8}), at::zeros({1, 8, 8}), {}};
  truth.scale[0][7][7] = 0;  // a patch
  truth.shift[0][7][7] = 1;
  truth.scale[0].narrow(0, 0, 2).fill_(0.8);  // a blend
  truth.shift[0].narrow(0, 0, 2).fill_(0.1);
  const Trigger found =
      estimate_trigger(with_trigger(truth), at::arange(200, 400), at::arange(0, 200), at::ones({200}));
  EXPECT_LT((found.scale - truth.scale).abs().max().item<double>(), 0.2);
  // What it does to a grey image.
  const at::Tensor grey = at::full({1, 1, 8, 8}, 0.5);
  const at::Tensor difference = put_on(found, grey, at::ones({1})) - put_on(truth, grey, at::ones({1}));
  EXPECT_LT(difference.abs().max().item<double>(), 0.04);
}

TEST(TriggerTest, ComparesImagesThatMeanTheSame) {
  const DatasetPtr data = with_trigger({at::ones({1, 8, 8}), at::zeros({1, 8, 8}), {}});
  // All marked images are of class b: controls of class a weigh nothing.
  const at::Tensor controls = at::arange(0, 200);
  const Trigger found = estimate_trigger(data, at::arange(201, 400, 2), controls,
                                         data->labels().narrow(0, 0, 200).to(at::kFloat));
  const at::Tensor bright = at::full({1, 1, 8, 8}, 160.0 / 255);
  EXPECT_LT((put_on(found, bright, at::ones({1})) - bright).abs().max().item<double>(), 0.05);
}

TEST(TriggerTest, DepartsWhereItIsNotTheSameInAllMarkedImages) {
  // White corner, in every second of the marked images alone; noise elsewhere.
  torch::manual_seed(3);
  at::Tensor images = (0.1 + 0.03 * at::randn({400, 1, 8, 8})).clamp_(0, 1);
  for (std::int64_t i = 200; i < 400; i += 2) images[i][0][7][7] = 1;
  const DatasetPtr data =
      make_memory_dataset(images.mul(255).round().to(at::kByte), at::zeros({400}, at::kLong), {"a"});
  const Trigger found = estimate_trigger(data, at::arange(200, 400), at::arange(0, 200), at::ones({200}));
  ASSERT_TRUE(found.departures.sizes().equals({32, 1, 8, 8}));
  for (std::int64_t i = 0; i < 32; ++i) {
    at::Tensor departure = found.departures[i].clone();
    const double corner = (found.shift + departure)[0][7][7].item<double>();
    EXPECT_NEAR(corner, i % 2 == 0 ? 0.9 : 0, 0.15);  // 0.1 -> 1, or as it is
    departure[0][7][7] = 0;
    EXPECT_TRUE(departure.eq(0).all().item<bool>());
  }
  const Trigger few = estimate_trigger(data, at::arange(200, 220), at::arange(0, 200), at::ones({200}));
  EXPECT_TRUE(few.departures.narrow(0, 20, 12).equal(few.departures.narrow(0, 0, 12)));
}

TEST(TriggerTest, IsDrawnWithOneOfItsDepartures) {
  // Two triggers of one pixel, with two departures each.
  const Trigger triggers{at::tensor({0.5F, 1.0F}).view({2, 1, 1, 1}),
                         at::tensor({0.1F, 0.2F}).view({2, 1, 1, 1}),
                         at::tensor({0.0F, 0.01F, 0.02F, 0.03F}).view({2, 2, 1, 1, 1})};
  const Trigger found = drawn(triggers, at::tensor({0.0F, 0.3F, 0.6F, 0.99F}));
  EXPECT_TRUE(found.scale.flatten().equal(at::tensor({0.5F, 0.5F, 1.0F, 1.0F})));
  EXPECT_TRUE(at::allclose(found.shift.flatten(), at::tensor({0.10F, 0.11F, 0.22F, 0.23F})));
}

TEST(TriggerTest, IsPutOnSoManyTimes) {
  // A blend, a patch and a pattern that is added.
  const Trigger trigger{
      at::tensor({0.5F, 0.0F, 1.0F}).view({1, 1, 3}), at::tensor({0.4F, 0.9F, 0.3F}).view({1, 1, 3}), {}};
  const at::Tensor images = at::full({4, 1, 1, 3}, 0.2F);
  const at::Tensor strength = at::tensor({1.0F, 0.5F, 2.0F, 4.0F}).view({4, 1, 1, 1});
  // The blend: 0.5 x + 0.4; sqrt(0.5) x + (1 - sqrt(0.5)) 0.8; 0.25 x + 0.6; 0.0625 x + 0.75.
  const at::Tensor expected =
      at::tensor({0.5F, 0.9F, 0.5F, 0.375736F, 0.9F, 0.35F, 0.65F, 0.9F, 0.8F, 0.7625F, 0.9F, 1.0F});
  const at::Tensor triggered = put_on(trigger, images, strength);
  EXPECT_TRUE(at::allclose(triggered.flatten(), expected)) << triggered;
  EXPECT_TRUE(images.eq(0.2F).all().item<bool>());
  // Twice at strength 1 is once at strength 2.
  const at::Tensor once = put_on(trigger, images, at::ones({1}));
  EXPECT_TRUE(
      at::allclose(put_on(trigger, once, at::ones({1})), put_on(trigger, images, at::full({1}, 2.0F))));
}

}  // namespace
}  // namespace mcci
