#include "mcci/nn/vit.hpp"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

#include "mcci/core/error.hpp"
#include "mcci/nn/attention.hpp"
#include "mcci/nn/recompute.hpp"
#include "tests/nn/support.hpp"

namespace mcci {
namespace {

using testing::HasSubstr;

// As the definition says, with the scores whole.
at::Tensor naive_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const at::Tensor scores = q.matmul(k.transpose(-2, -1)) / std::sqrt(static_cast<double>(q.size(3)));
  return scores.softmax(-1).matmul(v);
}

TEST(Attention, EqualsItsDefinitionInWhateverPieces) {
  at::manual_seed(1);
  const auto leaf = [] { return at::randn({2, 3, 7, 5}, at::kDouble).set_requires_grad(true); };
  const at::Tensor q = leaf(), k = leaf(), v = leaf();
  const at::Tensor weight = at::randn({2, 3, 7, 5}, at::kDouble);
  (naive_attention(q, k, v) * weight).sum().backward();
  const std::vector<at::Tensor> expected = {q.grad().clone(), k.grad().clone(), v.grad().clone()};
  // 7 x 7 scores a head: less than a row, two rows, one head, four of the six heads, all.
  for (const std::int64_t scores :
       {std::int64_t{1}, std::int64_t{15}, std::int64_t{49}, std::int64_t{200}, most_scores}) {
    for (const at::Tensor& t : {q, k, v}) t.mutable_grad() = at::Tensor();
    const at::Tensor out = attention(q, k, v, scores);
    // float32 softmax
    EXPECT_LT(relative_error(out, naive_attention(q, k, v)), 1e-6) << scores;
    (out * weight).sum().backward();
    EXPECT_LT(relative_error(q.grad(), expected[0]), 1e-6) << scores;
    EXPECT_LT(relative_error(k.grad(), expected[1]), 1e-6) << scores;
    EXPECT_LT(relative_error(v.grad(), expected[2]), 1e-6) << scores;
  }
}

TEST(Attention, KeepsTheDtype) {
  at::manual_seed(2);
  const at::Tensor q = at::randn({1, 2, 4, 8}), k = at::randn({1, 2, 4, 8}), v = at::randn({1, 2, 4, 8});
  const at::Tensor half = attention(q.to(at::kBFloat16), k.to(at::kBFloat16), v.to(at::kBFloat16));
  EXPECT_EQ(half.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative_error(half.to(at::kFloat), naive_attention(q, k, v)), 0.03);
}

TEST(Recomputed, GivesTheSameGradients) {
  at::manual_seed(3);
  torch::nn::Linear layer(4, 4);
  int runs = 0;
  const auto forward = [&](const torch::Tensor& x) {
    ++runs;
    return layer->forward(x).tanh();
  };
  const torch::Tensor x = torch::randn({3, 4}, torch::requires_grad());
  forward(x).square().sum().backward();
  const torch::Tensor of_x = x.grad().clone(), of_weight = layer->weight.grad().clone();
  x.mutable_grad() = torch::Tensor();
  layer->zero_grad();
  runs = 0;
  const torch::Tensor out = recomputed(forward, x);
  EXPECT_EQ(runs, 1);
  out.square().sum().backward();
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(torch::equal(x.grad(), of_x));
  EXPECT_TRUE(torch::equal(layer->weight.grad(), of_weight));

  layer->zero_grad();
  recomputed(forward, x.detach()).square().sum().backward();  // as behind a frozen stem
  EXPECT_TRUE(torch::equal(layer->weight.grad(), of_weight));

  runs = 0;
  const torch::NoGradGuard no_grad;
  EXPECT_FALSE(recomputed(forward, x).requires_grad());
  EXPECT_EQ(runs, 1);
}

TEST(Vit, LearnsTheSameWithBlocksRecomputed) {
  std::vector<std::vector<at::Tensor>> gradients;
  for (const bool recompute : {false, true}) {
    BackboneConfig config = tiny("vit_nano_patch4_32", 24, 3, 16);
    config.recompute = recompute;
    at::manual_seed(4);
    const auto net = make_backbone(config);
    at::cross_entropy_loss(net->forward(at::rand({4, 3, 16, 16})), at::arange(4)).backward();
    gradients.emplace_back();
    for (const at::Tensor& parameter : net->parameters()) gradients.back().push_back(parameter.grad());
  }
  ASSERT_EQ(gradients[0].size(), gradients[1].size());
  for (std::size_t i = 0; i < gradients[0].size(); ++i)
    EXPECT_TRUE(at::equal(gradients[0][i], gradients[1][i])) << i;
}

// timm's, at a width of 48 and images of 224 pixels with 10 classes.
TEST(Vit, HasTimmsNumberOfParameters) {
  const std::pair<const char*, std::int64_t> counts[] = {
      {"vit_base_patch16_224", 386266},
      {"vit_base_patch32_224", 489802},
      {"vit_large_patch16_224", 725530},
      {"vit_large_patch14_224", 719770},
      {"vit_base_patch32_clip_224", 489850},
      {"vit_base_patch16_clip_224", 386314},
      {"vit_large_patch14_clip_224", 719818},
      {"vit_large_patch14_clip_quickgelu_224", 719818},
      {"vit_small_patch14_dinov2", 381658},
      {"vit_base_patch14_dinov2", 381658},
      {"vit_large_patch14_dinov2", 722074},
      // and a position of the class token
      {"vit_small_patch14_reg4_dinov2", 381802 + 48},
      {"vit_base_patch14_reg4_dinov2", 381802 + 48},
      {"vit_large_patch14_reg4_dinov2", 722218 + 48},
  };
  for (const auto& [name, count] : counts)
    EXPECT_EQ(parameter_count(*make_backbone(tiny(name, 48, 0, 224))), count) << name;
  EXPECT_EQ(parameter_count(*make_backbone(tiny("vit_tiny_patch16_224", 0, 0, 224, 1000))), 5'717'416);
  EXPECT_EQ(parameter_count(*make_backbone(tiny("vit_small_patch16_224", 0, 0, 224, 1000))), 22'050'664);
}

TEST(Vit, StartsAsTimmDoes) {
  at::manual_seed(5);
  const auto net = make_backbone(tiny("vit_small_patch16_224", 96, 2, 224));
  const auto parameters = net->named_parameters();
  EXPECT_NEAR(parameters["pos_embed"].std().item<double>(), 0.02, 0.002);
  EXPECT_NEAR(parameters["blocks.1.mlp.fc1.weight"].std().item<double>(), 0.02, 0.002);
  EXPECT_NEAR(parameters["head.weight"].std().item<double>(), 0.02, 0.003);
  EXPECT_LT(parameters["cls_token"].abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(at::equal(parameters["blocks.0.attn.qkv.bias"], at::zeros({288})));
  EXPECT_TRUE(at::equal(parameters["blocks.0.norm1.weight"], at::ones({96})));
}

TEST(Vit, LearnsOneBatchByHeart) {
  at::manual_seed(6);
  const auto net = make_backbone(tiny("vit_nano_patch4_32", 24, 2, 16, 4));
  const at::Tensor x = at::rand({8, 3, 16, 16});
  const at::Tensor labels = at::arange(8).remainder(4);
  double loss = 0;
  for (int step = 0; step < 100; ++step) {
    net->zero_grad();
    const at::Tensor value = at::cross_entropy_loss(net->forward(x), labels);
    value.backward();
    const c10::NoGradGuard no_grad;
    for (at::Tensor& parameter : net->parameters()) parameter.sub_(parameter.grad().sign(), 0.003);
    loss = value.item<double>();
  }
  EXPECT_LT(loss, 0.1);
}

TEST(Vit, RefusesAWidthThatItsHeadsDoNotDivide) {
  try {
    make_backbone(tiny("vit_tiny_patch16_224", 64, 0, 224));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("3 heads"));
  }
}

}  // namespace
}  // namespace mcci
