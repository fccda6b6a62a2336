#include <cmath>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>

#include "mcci/core/error.hpp"
#include "mcci/nn/convnext.hpp"
#include "mcci/nn/depthwise.hpp"
#include "mcci/nn/efficientnet.hpp"
#include "mcci/runtime/compute.hpp"
#include "tests/nn/support.hpp"

namespace mcci {
namespace {

TEST(EfficientNet, HasTimmsNumberOfParameters) {
  EXPECT_EQ(parameter_count(*make_backbone(tiny("efficientnet_b0", 0, 0, 224, 1000))), 5'288'548);
  EXPECT_EQ(parameter_count(*make_backbone(tiny("tf_efficientnet_b0", 0, 0, 224, 1000))), 5'288'548);
  EXPECT_EQ(parameter_count(*make_backbone(tiny("tf_efficientnet_lite0", 0, 0, 224, 1000))), 4'652'008);
}

TEST(EfficientNet, BatchNormIsTheOriginals) {
  for (const std::string name : {"efficientnet_b0", "tf_efficientnet_lite0"}) {
    const bool tensorflow = name != "efficientnet_b0";
    const auto net = make_backbone(tiny(name, 4, 1, 32));
    std::size_t norms = 0;
    for (const auto& module : net->modules()) {
      const auto* norm = module->as<torch::nn::BatchNorm2d>();
      if (norm == nullptr) continue;
      ++norms;
      EXPECT_EQ(norm->options.eps(), tensorflow ? 1e-3 : 1e-5);
      EXPECT_EQ(norm->options.momentum().value(), tensorflow ? 0.01 : 0.1);
    }
    EXPECT_EQ(norms, 2U + 2 + 6 * 3);
  }
}

TEST(EfficientNet, StartsAsTimmDoes) {
  at::manual_seed(1);
  const auto net = make_backbone(tiny("efficientnet_b0", 32, 1, 32, 16));
  const auto parameters = net->named_parameters();
  const auto deviation = [&](const char* name) { return parameters[name].std().item<double>(); };
  EXPECT_NEAR(deviation("conv_head.weight") / std::sqrt(2.0 / 1280), 1, 0.05);
  EXPECT_NEAR(deviation("blocks.5.0.conv_dw.weight") / std::sqrt(2.0 / 25), 1,
              0.05);  // each group has one output
  EXPECT_LE(parameters["classifier.weight"].abs().max().item<double>(), 0.25);
  EXPECT_NEAR(deviation("classifier.weight"), 0.25 / std::sqrt(3.0), 0.01);
  EXPECT_TRUE(at::equal(parameters["classifier.bias"], at::zeros({16})));
}

TEST(ConvNeXt, HasTimmsNumberOfParameters) {
  EXPECT_EQ(parameter_count(*make_backbone(tiny("convnext_tiny", 0, 0, 224, 1000))), 28'589'128);
}

TEST(ConvNeXt, StartsAsTimmDoes) {
  at::manual_seed(2);
  const auto net = make_backbone(tiny("convnext_tiny", 16, 1, 32));
  const auto parameters = net->named_parameters();
  EXPECT_NEAR(parameters["stages.3.blocks.0.mlp.fc1.weight"].std().item<double>(), 0.02, 0.001);
  EXPECT_NEAR(parameters["stem.0.weight"].std().item<double>(), 0.02, 0.002);
  EXPECT_TRUE(at::equal(parameters["stages.0.blocks.0.gamma"], at::full({16}, 1e-6)));
  EXPECT_TRUE(at::equal(parameters["head.fc.bias"], at::zeros({10})));
}

TEST(ConvNeXt, RefusesImagesThatItCannotHalve) {
  try {
    make_backbone(tiny("convnext_tiny", 8, 1, 31));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), testing::HasSubstr("at least 32"));
  }
}

// The gradient of large depthwise filters is put together from pieces: it must be that of the whole.
TEST(Convolve, HasTheGradientsOfAPlainConvolution) {
  torch::manual_seed(3);
  for (const std::int64_t kernel : {3, 5, 7}) {
    for (const std::int64_t stride : {1, 2}) {
      for (const std::int64_t padding : {std::int64_t{0}, kernel / 2}) {
        for (const bool bias : {false, true}) {
          torch::nn::Conv2d convolution(
              torch::nn::Conv2dOptions(4, 4, kernel).stride(stride).padding(padding).groups(4).bias(bias));
          convolution->to(torch::kDouble);
          const auto gradients = [&](const auto& forward) {
            convolution->zero_grad();
            const torch::Tensor x = torch::arange(2 * 4 * 9 * 10, torch::kDouble)
                                        .view({2, 4, 9, 10})
                                        .sin()
                                        .set_requires_grad(true);
            const torch::Tensor y = forward(x);
            (y * torch::arange(y.numel(), torch::kDouble).view(y.sizes()).cos()).sum().backward();
            return std::vector<torch::Tensor>{y.detach(), x.grad(), convolution->weight.grad().clone(),
                                              bias ? convolution->bias.grad().clone() : torch::zeros({1})};
          };
          const auto plain = gradients([&](const torch::Tensor& x) { return convolution(x); });
          const auto ours = gradients([&](const torch::Tensor& x) { return convolve(convolution, x); });
          for (std::size_t i = 0; i < plain.size(); ++i)
            EXPECT_TRUE(torch::allclose(ours[i], plain[i], 1e-9, 1e-9)) << kernel << stride << padding << i;
        }
      }
    }
  }
}

TEST(Convolve, LearnsUnderAutocast) {
  torch::manual_seed(4);
  torch::nn::Conv2d convolution(torch::nn::Conv2dOptions(8, 8, 5).padding(2).groups(8).bias(false));
  const torch::Tensor x = torch::randn({2, 8, 6, 6});
  convolve(convolution, x).square().sum().backward();
  const torch::Tensor exact = convolution->weight.grad().clone();
  convolution->zero_grad();
  Compute compute;
  compute.bf16 = true;
  {
    const Autocast autocast(compute);
    const torch::Tensor y = convolve(convolution, x);
    EXPECT_EQ(y.scalar_type(), torch::kBFloat16);
    y.to(torch::kFloat).square().sum().backward();
  }
  const torch::Tensor& rounded = convolution->weight.grad();
  EXPECT_EQ(rounded.scalar_type(), torch::kFloat);
  EXPECT_LT((rounded - exact).norm().item<double>(), 0.02 * exact.norm().item<double>());
}

}  // namespace
}  // namespace mcci
