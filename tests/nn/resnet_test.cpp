#include "mcci/nn/resnet.hpp"

#include <cmath>
#include <map>

#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "mcci/core/error.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/state/module_state.hpp"
#include "tests/nn/support.hpp"

namespace mcci {
namespace {

using testing::HasSubstr;

BackboneConfig config(const std::string& name, std::int64_t width, std::int64_t image_size = 32,
                      std::int64_t outputs = 10) {
  return tiny(name, width, 0, image_size, outputs);
}

// What torchvision computed (tests/parity/make_fixtures.py), with the same weights.
struct ParityCase {
  const char* fixture;
  BackboneConfig config;
};

class Parity : public testing::TestWithParam<ParityCase> {};

TEST_P(Parity, LogitsGradientsAndStatisticsEqualTorchvisions) {
  const TensorFile file =
      load_safetensors(std::string(MCCI_FIXTURES "/") + GetParam().fixture + ".safetensors");
  const std::map<std::string, at::Tensor> fixture(file.tensors.begin(), file.tensors.end());
  const auto net = make_backbone(GetParam().config);
  load_module_state(*net, with_prefix_removed(file.tensors, "weights"), GetParam().fixture);
  // In double precision: in single, a ReLU's input on the other side of zero is a per cent of a gradient, and
  // which side it is on depends on the machine's matrix products.
  net->to(at::kDouble);

  for (const std::string mode : {"eval", "train"}) {
    net->train(mode == "train");
    net->zero_grad();
    const at::Tensor logits = net->forward(fixture.at("input").to(at::kDouble));
    const at::Tensor loss = at::cross_entropy_loss(logits, fixture.at("labels"));
    loss.backward();
    EXPECT_LT(relative_error(logits, fixture.at(mode + ".logits")), 1e-4) << mode;
    EXPECT_LT(relative_error(loss, fixture.at(mode + ".loss")), 1e-4) << mode;
    std::size_t compared = 0;
    for (const auto& parameter : net->named_parameters()) {
      const auto gradient = fixture.find(mode + ".grad." + parameter.key());
      if (gradient == fixture.end()) continue;
      EXPECT_LT(relative_error(parameter.value().grad(), gradient->second), 1e-3)
          << mode << " " << parameter.key();
      ++compared;
    }
    EXPECT_EQ(compared, 5U);
  }
  const auto after = with_prefix_removed(file.tensors, "after_train");
  const auto buffers = net->named_buffers();
  ASSERT_EQ(after.size(), 4U);
  for (const auto& [name, expected] : after) {
    EXPECT_LT(relative_error(buffers[name].to(at::kFloat), expected.to(at::kFloat)), 1e-4) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Torchvision, Parity,
                         testing::Values(ParityCase{"resnet8", config("resnet8", 8)},
                                         ParityCase{"resnet18_small", config("resnet18", 8)},
                                         ParityCase{"resnet18_imagenet", config("resnet18", 8, 72)},
                                         ParityCase{"resnet50", config("resnet50", 4)}),
                         [](const auto& test) { return std::string(test.param.fixture); });

TEST(ResNet, HasTorchvisionsNumberOfParameters) {
  const std::pair<const char*, std::int64_t> counts[] = {
      {"resnet18", 11'689'512}, {"resnet34", 21'797'672}, {"resnet50", 25'557'032}};
  for (const auto& [name, count] : counts) {
    EXPECT_EQ(parameter_count(*make_backbone(config(name, 0, 224, 1000))), count) << name;
  }
}

TEST(ResNet, EightIsThreeStagesOfWidthSixteen) {
  const auto net = make_backbone(config("resnet8", 0));
  // stem 3*16*9 + 2*16; stage 1: 2*16*16*9 + 4*16; stage 2: (16+32)*32*9 + 4*32 + 16*32 + 2*32; stage 3
  // alike; fc.
  EXPECT_EQ(parameter_count(*net), 464 + 4672 + 14528 + 57728 + 650);
  std::vector<std::string> children;
  for (const auto& child : net->named_children()) children.push_back(child.key());
  EXPECT_THAT(children, testing::ElementsAre("conv1", "bn1", "layer1", "layer2", "layer3", "fc"));
}

TEST(ResNet, ImageSizeChoosesTheStem) {
  for (const std::int64_t size : {8, 64, 65, 224}) {
    const auto net = make_backbone(config("resnet18", 4, size));
    const at::Tensor conv1 = net->named_parameters()["conv1.weight"];
    EXPECT_EQ(conv1.size(2), size <= 64 ? 3 : 7) << size;
  }
}

TEST(ResNet, TakesOneChannelAndAnyNumberOfOutputs) {
  BackboneConfig grey = config("resnet18", 4, 28, 7);
  grey.in_channels = 1;
  const auto net = make_backbone(grey);
  net->eval();
  EXPECT_EQ(net->forward(at::zeros({2, 1, 28, 28})).sizes(), at::IntArrayRef({2, 7}));
}

TEST(ResNet, StartsAsTorchvisionDoes) {
  at::manual_seed(1);
  const auto net = make_backbone(config("resnet50", 16));
  for (const auto& module : net->modules(/*include_self=*/false)) {
    if (const auto* conv = module->as<torch::nn::Conv2d>()) {
      const double fan_out =
          static_cast<double>(conv->weight.size(0) * conv->weight.size(2) * conv->weight.size(3));
      EXPECT_NEAR(conv->weight.std().item<double>() / std::sqrt(2 / fan_out), 1, 0.15);
      EXPECT_FALSE(conv->bias.defined());
    } else if (const auto* norm = module->as<torch::nn::BatchNorm2d>()) {
      EXPECT_TRUE(at::equal(norm->weight, at::ones_like(norm->weight)));
      EXPECT_TRUE(at::equal(norm->bias, at::zeros_like(norm->bias)));
    }
  }
  EXPECT_TRUE(net->is_training());
}

TEST(ResNet, SameSeedSameWeights) {
  std::vector<at::Tensor> conv1;
  for (const std::uint64_t seed : {3, 3, 4}) {
    at::manual_seed(seed);
    conv1.push_back(make_backbone(config("resnet8", 8))->named_parameters()["conv1.weight"]);
  }
  EXPECT_TRUE(at::equal(conv1[0], conv1[1]));
  EXPECT_FALSE(at::equal(conv1[0], conv1[2]));
}

TEST(ResNet, ChannelsLastGivesTheSame) {
  at::manual_seed(5);
  const auto net = make_backbone(config("resnet18", 8));
  const at::Tensor x = at::randn({4, 3, 32, 32});
  const at::Tensor expected = net->forward(x);
  for (at::Tensor& parameter : net->parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  }
  EXPECT_LT(relative_error(net->forward(x.contiguous(at::MemoryFormat::ChannelsLast)), expected), 1e-4);
}

// With gradients the projections' strides are taken before their filters.
TEST(ResNet, GradientsDoNotChangeTheAnswer) {
  at::manual_seed(8);
  const auto net = make_backbone(config("resnet8", 8));
  net->eval();
  const at::Tensor x = at::randn({5, 3, 32, 32});
  const at::Tensor with = net->forward(x);
  const at::NoGradGuard no_grad;
  EXPECT_LT(relative_error(net->forward(x), with), 1e-5);
}

TEST(ResNet, InEvalModeImagesDoNotInfluenceEachOther) {
  at::manual_seed(6);
  const auto net = make_backbone(config("resnet8", 8));
  net->eval();
  const at::Tensor x = at::randn({6, 3, 32, 32});
  EXPECT_LT(relative_error(net->forward(x.slice(0, 2, 3)), net->forward(x).slice(0, 2, 3)), 1e-5);
}

TEST(ResNet, LearnsOneBatchByHeart) {
  at::manual_seed(8);
  const auto net = make_backbone(config("resnet8", 8, 16, 4));
  const at::Tensor x = at::randn({8, 3, 16, 16});
  const at::Tensor labels = at::arange(8).remainder(4);
  double loss = 0;
  for (int step = 0; step < 80; ++step) {
    net->zero_grad();
    const at::Tensor value = at::cross_entropy_loss(net->forward(x), labels);
    value.backward();
    const c10::NoGradGuard no_grad;
    for (at::Tensor& parameter : net->parameters()) parameter.sub_(parameter.grad(), 0.1);
    loss = value.item<double>();
  }
  EXPECT_LT(loss, 0.05);
}

std::string usage_error_of(const BackboneConfig& bad) {
  try {
    make_backbone(bad);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

TEST(Backbones, RefuseWhatTheyCannotBe) {
  EXPECT_THAT(usage_error_of(config("resnet81", 8)), HasSubstr("resnet18"));
  EXPECT_THAT(usage_error_of(config("resnet18", -1)), HasSubstr("width"));
  EXPECT_THAT(usage_error_of(config("resnet18", 2049)), HasSubstr("width"));
  EXPECT_THAT(usage_error_of(tiny("resnet18", 8, 65, 32)), HasSubstr("depth"));
  EXPECT_THAT(usage_error_of(config("resnet18", 8, 32, 0)), HasSubstr("outputs"));
  EXPECT_THAT(usage_error_of(config("resnet18", 8, 0)), HasSubstr("image size"));
  EXPECT_THAT(usage_error_of(config("resnet18", 8, 7)), HasSubstr("at least 8"));
  BackboneConfig no_channels = config("resnet18", 8);
  no_channels.in_channels = 0;
  EXPECT_THAT(usage_error_of(no_channels), HasSubstr("channels"));
}

TEST(ResNet, DepthCountsBlocksFromTheStemToTheHead) {
  BackboneConfig config;
  config.name = "resnet18";
  config.width = 2;
  const auto net = make_backbone(config);
  const std::pair<const char*, int> depths[] = {{"conv1.weight", 0},
                                                {"bn1.running_mean", 0},
                                                {"layer1.0.conv1.weight", 1},
                                                {"layer1.1.bn2.bias", 2},
                                                {"layer2.0.conv1.weight", 3},
                                                {"layer2.0.downsample.0.weight", 3},
                                                {"layer4.1.conv2.weight", 8},
                                                {"fc.weight", 9},
                                                {"fc.bias", 9}};
  for (const auto& [name, depth] : depths) EXPECT_EQ(net->depth_of(name), depth) << name;
}

}  // namespace
}  // namespace mcci
