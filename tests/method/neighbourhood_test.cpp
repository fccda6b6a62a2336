#include "mcci/method/neighbourhood.hpp"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/core/support.hpp"

namespace mcci {
namespace {

// Directions in the plane, in degrees; lengths do not matter.
torch::Tensor directions(const std::vector<double>& degrees) {
  std::vector<torch::Tensor> rows;
  for (std::size_t i = 0; i < degrees.size(); ++i) {
    const double angle = degrees[i] * 3.141592653589793 / 180;
    rows.push_back(torch::tensor({std::cos(angle), std::sin(angle)}) * static_cast<double>(i + 1));
  }
  return torch::stack(rows).to(torch::kFloat);
}

// Of two classes: what the neighbours give to class 1.
void expect_ones(const torch::Tensor& found, const std::vector<float>& expected) {
  ASSERT_EQ(found.sizes(), (std::vector<std::int64_t>{static_cast<std::int64_t>(expected.size()), 2}));
  EXPECT_TRUE(torch::allclose(found.select(1, 1), torch::tensor(expected), 0, 1e-6)) << found;
  EXPECT_TRUE(torch::allclose(found.sum(1), torch::ones({found.size(0)}), 0, 1e-6)) << found;
}

// 0, 10 and 25 degrees are class 0, 90, 101 and 113 class 1; 5 degrees looks like class 0 and says 1.
const std::vector<double> degrees = {0, 10, 25, 90, 101, 113, 5};
const std::vector<std::int64_t> labels = {0, 0, 0, 1, 1, 1, 1};

TEST(Neighbourhood, OpinionByHand) {
  const torch::Tensor said = torch::tensor(labels);
  // Nearest: 0 -> 5; 10 -> 5; 25 -> 10; 90 -> 101; 101 -> 90; 113 -> 101; 5 -> 0 or 10, both of class 0.
  expect_ones(neighbourhood_opinion(directions(degrees), said, 2, 1), {1, 1, 0, 1, 1, 1, 0});
  // Two nearest: 0 -> 5, 10; 10 -> 5, 0; 25 -> 10, 5; 90 -> 101, 113; 101 -> 90, 113; 113 -> 101, 90.
  expect_ones(neighbourhood_opinion(directions(degrees), said, 2, 2), {.5, .5, .5, 1, 1, 1, 0});
  // All six others: four of class 1 for each of class 0, three for each of class 1.
  expect_ones(neighbourhood_opinion(directions(degrees), said, 2, 6),
              {4 / 6.F, 4 / 6.F, 4 / 6.F, .5, .5, .5, .5});
}

TEST(Neighbourhood, PiecesChangeNothing) {
  torch::manual_seed(1);
  const torch::Tensor features = torch::randn({53, 8});
  const torch::Tensor said = torch::randint(0, 4, {53}, torch::kLong);
  const torch::Tensor whole = neighbourhood_opinion(features, said, 4, 5);
  for (const std::int64_t similarities : {1, 53 * 7, 53 * 52})
    EXPECT_TRUE(torch::equal(neighbourhood_opinion(features, said, 4, 5, similarities), whole));
  // Only directions count.
  EXPECT_TRUE(torch::equal(neighbourhood_opinion(features * 1000, said, 4, 5), whole));
}

TEST(Neighbourhood, ZerosAreNoNumbersThatSpread) {
  torch::Tensor features = directions(degrees);
  features[3].zero_();
  EXPECT_TRUE(neighbourhood_opinion(features, torch::tensor(labels), 2, 2).isfinite().all().item<bool>());
}

TEST(Neighbourhood, RefusesNumbersOfNeighboursThatCannotBe) {
  const torch::Tensor said = torch::tensor(labels);
  for (const std::int64_t neighbours : {-1, 0, 7}) {
    test::expect_error(ErrorKind::usage, {"7 samples", "neighbours"},
                       [&] { neighbourhood_opinion(directions(degrees), said, 2, neighbours); });
  }
}

// By a backbone's features, in evaluation mode, which it need not be in.
TEST(Neighbourhood, AsksAnEncoder) {
  torch::manual_seed(2);
  BackboneConfig config;
  config.name = "resnet8";
  config.width = 2;
  config.in_channels = 1;
  config.image_size = 8;
  config.outputs = 3;
  const auto encoder = make_backbone(config);
  const torch::Tensor images = torch::randint(0, 256, {30, 1, 8, 8}, torch::kLong).to(torch::kByte);
  const DatasetPtr data = make_memory_dataset(images, torch::arange(30).remainder(3), {"a", "b", "c"});
  const torch::Tensor found = neighbourhood_opinion(*encoder, data, Compute{}, 4);
  EXPECT_TRUE(encoder->is_training());
  encoder->eval();
  const torch::NoGradGuard no_grad;
  const torch::Tensor features = encoder->features(images.to(torch::kFloat) / 255);
  EXPECT_TRUE(torch::allclose(found, neighbourhood_opinion(features, data->labels(), 3, 4), 0, 1e-6));
}

}  // namespace
}  // namespace mcci
