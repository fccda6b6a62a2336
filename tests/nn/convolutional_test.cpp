#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>

#include "mcci/core/error.hpp"
#include "mcci/nn/convnext.hpp"
#include "mcci/nn/efficientnet.hpp"
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

}  // namespace
}  // namespace mcci
