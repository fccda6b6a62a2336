#include "mcci/nn/side_by_side.hpp"

#include <stdexcept>
#include <vector>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

#include "mcci/runtime/compute.hpp"

namespace mcci {
namespace {

using Networks = std::vector<std::function<torch::Tensor()>>;

class SideBySide : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    before_ = at::get_num_threads();
    at::set_num_threads(GetParam());
  }
  void TearDown() override { at::set_num_threads(before_); }

 private:
  int before_ = 0;
};

TEST_P(SideBySide, AnswersAndLearnsAsInTurn) {
  at::manual_seed(1);
  std::vector<torch::nn::Linear> layers;
  Networks networks;
  const torch::Tensor x = torch::randn({5, 4});
  for (int i = 0; i < 5; ++i) {
    layers.emplace_back(4, 3 + i);
    networks.emplace_back([layer = layers.back(), &x]() mutable { return layer->forward(x).tanh(); });
  }
  std::vector<torch::Tensor> answers, weights, biases;
  torch::Tensor loss = torch::zeros({});
  for (const auto& network : networks) {
    answers.push_back(network());
    loss = loss + answers.back().pow(3).sum();
  }
  loss.backward();
  for (auto& layer : layers) {
    weights.push_back(layer->weight.grad().clone());
    biases.push_back(layer->bias.grad().clone());
    layer->zero_grad();
  }
  const std::vector<torch::Tensor> together = side_by_side(torch::kCPU, networks);
  ASSERT_EQ(together.size(), answers.size());
  loss = torch::zeros({});
  for (std::size_t i = 0; i < answers.size(); ++i) {
    EXPECT_TRUE(together[i].equal(answers[i]));
    loss = loss + together[i].pow(3).sum();
  }
  loss.backward();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    EXPECT_TRUE(layers[i]->weight.grad().equal(weights[i]));
    EXPECT_TRUE(layers[i]->bias.grad().equal(biases[i]));
  }
}

TEST_P(SideBySide, WhatIsNotAskedForTeachesNothing) {
  torch::nn::Linear first(2, 2), second(2, 2);
  const torch::Tensor x = torch::ones({1, 2});
  const auto answers =
      side_by_side(torch::kCPU, {[&] { return first->forward(x); }, [&] { return second->forward(x); }});
  answers[1].sum().backward();
  EXPECT_FALSE(first->weight.grad().defined());
  EXPECT_TRUE(second->weight.grad().equal(torch::ones({2, 2})));
}

TEST_P(SideBySide, DrawsForEachNetworkBySeedWhateverTheThreads) {
  const auto draw = [] { return torch::empty({4}).uniform_(0, 1, own_generator()); };
  at::manual_seed(7);
  const auto drawn = side_by_side(torch::kCPU, {draw, draw});
  EXPECT_FALSE(drawn[0].equal(drawn[1]));
  const auto next = side_by_side(torch::kCPU, {draw, draw});
  EXPECT_FALSE(next[0].equal(drawn[0]));
  at::set_num_threads(3 - GetParam());
  at::manual_seed(7);
  const auto again = side_by_side(torch::kCPU, {draw, draw});
  EXPECT_TRUE(again[0].equal(drawn[0]));
  EXPECT_TRUE(again[1].equal(drawn[1]));
  EXPECT_FALSE(own_generator().has_value());
}

TEST_P(SideBySide, KeepsNoGraphWithoutGradients) {
  torch::nn::Linear layer(2, 2);
  const torch::NoGradGuard no_grad;
  EXPECT_FALSE(side_by_side(torch::kCPU, {[&] {
                              return layer->forward(torch::ones({1, 2}));
                            }})[0]
                   .requires_grad());
}

TEST_P(SideBySide, ConvolvesInBf16WithTheWeightsOfNow) {
  Compute compute;
  compute.bf16 = true;
  torch::nn::Conv2d first(torch::nn::Conv2dOptions(1, 2, 3)), second(torch::nn::Conv2dOptions(1, 2, 3));
  const torch::Tensor x = torch::ones({3, 1, 8, 8});
  for (const double weight : {1.0, 2.0}) {
    {
      const torch::NoGradGuard no_grad;
      for (auto& layer : {first, second}) {
        layer->weight.fill_(weight);
        layer->bias.zero_();
      }
    }
    const Autocast autocast(compute);
    const auto answers =
        side_by_side(torch::kCPU, {[&] { return first->forward(x); }, [&] { return second->forward(x); }});
    for (const torch::Tensor& answer : answers) {
      EXPECT_EQ(answer.scalar_type(), torch::kBFloat16);
      EXPECT_EQ(answer.max().item<double>(), 9 * weight);
    }
    torch::cat(answers).to(torch::kFloat).sum().backward();
  }
}

TEST_P(SideBySide, ThrowsWhatANetworkThrows) {
  const auto fine = [] { return torch::ones({1}); };
  const auto broken = []() -> torch::Tensor { throw std::runtime_error("broken"); };
  EXPECT_THROW(side_by_side(torch::kCPU, {fine, broken, fine}), std::runtime_error);
  EXPECT_FALSE(own_generator().has_value());
}

INSTANTIATE_TEST_SUITE_P(Threads, SideBySide, testing::Values(1, 2));

}  // namespace
}  // namespace mcci
