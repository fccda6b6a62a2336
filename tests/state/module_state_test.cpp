#include "mcci/state/module_state.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct Block : torch::nn::Module {
  Block()
      : conv(register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 3).bias(false)))),
        norm(register_module("norm", torch::nn::BatchNorm2d(4))) {}
  torch::nn::Conv2d conv;
  torch::nn::BatchNorm2d norm;
};

struct Net : torch::nn::Module {
  Net()
      : block(register_module("block", std::make_shared<Block>())),
        fc(register_module("fc", torch::nn::Linear(4, 2))),
        scale(register_parameter("scale", torch::randn({1}))) {}
  std::shared_ptr<Block> block;
  torch::nn::Linear fc;
  torch::Tensor scale;
};

TensorList copy_of(const TensorList& tensors) {
  TensorList result;
  for (const auto& [name, tensor] : tensors) result.emplace_back(name, tensor.detach().clone());
  return result;
}

std::vector<std::string> names(const TensorList& tensors) {
  std::vector<std::string> result;
  for (const auto& item : tensors) result.push_back(item.first);
  return result;
}

bool same(const TensorList& a, const TensorList& b) {
  if (names(a) != names(b)) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!at::equal(a[i].second, b[i].second)) return false;
  }
  return true;
}

// Loads `tensors`, which must fail and leave the module as it is.
std::string load_error(Net& net, const TensorList& tensors) {
  const TensorList before = copy_of(module_state(net));
  std::string message;
  try {
    load_module_state(net, tensors, "weights.safetensors");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    message = error.what();
    EXPECT_THAT(message, HasSubstr("weights.safetensors"));
  }
  EXPECT_TRUE(same(module_state(net), before));
  return message;
}

TEST(ModuleState, ListsNamesInPyTorchsOrder) {
  const Net net;
  EXPECT_THAT(names(module_state(net)),
              ElementsAre("scale", "block.conv.weight", "block.norm.weight", "block.norm.bias",
                          "block.norm.running_mean", "block.norm.running_var",
                          "block.norm.num_batches_tracked", "fc.weight", "fc.bias"));
}

TEST(ModuleState, SharesStorage) {
  Net net;
  for (auto& [name, tensor] : module_state(net)) tensor.detach().fill_(3);
  EXPECT_EQ(net.fc->weight[1][2].item<float>(), 3);
  EXPECT_EQ(net.block->norm->running_mean[0].item<float>(), 3);
}

TEST(ModuleState, LoadsWhatAnotherModuleHad) {
  Net net, other;
  other.block->norm->num_batches_tracked.fill_(42);
  TensorList tensors = copy_of(module_state(other));
  std::reverse(tensors.begin(), tensors.end());
  const void* storage = net.fc->weight.data_ptr();
  load_module_state(net, tensors, "");
  EXPECT_TRUE(same(module_state(net), module_state(other)));
  EXPECT_EQ(net.fc->weight.data_ptr(), storage);
  EXPECT_TRUE(net.fc->weight.requires_grad());
  EXPECT_TRUE(net.fc->weight.is_leaf());
}

TEST(ModuleState, KeepsTheModulesMemoryFormat) {
  Net net, other;
  net.block->conv->weight.set_data(net.block->conv->weight.contiguous(at::MemoryFormat::ChannelsLast));
  load_module_state(net, copy_of(module_state(other)), "");
  EXPECT_TRUE(net.block->conv->weight.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(at::equal(net.block->conv->weight, other.block->conv->weight));
}

TEST(ModuleState, ConvertsBetweenFloatingPointDtypes) {
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kDouble}) {
    Net net, other;
    TensorList tensors = copy_of(module_state(other));
    for (auto& [name, tensor] : tensors) {
      if (tensor.is_floating_point()) tensor = tensor.to(dtype);
    }
    load_module_state(net, tensors, "");
    EXPECT_EQ(net.fc->weight.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::equal(net.fc->weight, other.fc->weight.to(dtype).to(at::kFloat)));
  }
}

TEST(ModuleState, RefusesIntegersForFloatsAndTheReverse) {
  Net net;
  TensorList tensors = copy_of(module_state(net));
  for (auto& [name, tensor] : tensors) {
    if (name == "fc.weight") tensor = tensor.to(at::kLong);
    if (name == "block.norm.num_batches_tracked") tensor = tensor.to(at::kFloat);
  }
  EXPECT_THAT(load_error(net, tensors),
              AllOf(HasSubstr("2 of another shape or type"), HasSubstr("fc.weight"),
                    HasSubstr("num_batches_tracked"), HasSubstr("Long"), Not(HasSubstr("missing"))));
}

TEST(ModuleState, RefusesAnotherWidthOfInteger) {
  Net net;
  TensorList tensors = copy_of(module_state(net));
  for (auto& [name, tensor] : tensors) {
    if (name == "block.norm.num_batches_tracked") tensor = tensor.to(at::kInt);
  }
  EXPECT_THAT(load_error(net, tensors), HasSubstr("Int"));
}

TEST(ModuleState, ListsEverythingThatDoesNotFit) {
  Net net, other;
  TensorList tensors = copy_of(module_state(other));
  tensors.erase(tensors.begin());                  // scale
  tensors.emplace_back("extra", at::ones({1}));    // unexpected
  tensors.emplace_back("fc.bias", at::ones({2}));  // repeated
  for (auto& [name, tensor] : tensors) {
    if (name == "fc.weight") tensor = tensor.t();  // [4, 2] for [2, 4]
    if (name == "block.norm.bias") tensor = at::Tensor();
  }
  EXPECT_THAT(load_error(net, tensors),
              AllOf(HasSubstr("1 missing (\"scale\")"), HasSubstr("1 unexpected (\"extra\")"),
                    HasSubstr("1 repeated (\"fc.bias\")"), HasSubstr("2 of another shape or type"),
                    HasSubstr("\"fc.weight\": Float [4, 2] for Float [2, 4]"), HasSubstr("undefined")));
}

TEST(ModuleState, CutsLongLists) {
  Net net;
  const std::string message = load_error(net, {});
  EXPECT_THAT(message, AllOf(HasSubstr("9 missing"), HasSubstr("...")));
  EXPECT_THAT(message, Not(HasSubstr("fc.bias")));
}

TEST(ModuleState, PrefixesComeAndGo) {
  const TensorList tensors = {
      {"sfrn.fc.bias", at::ones({1})}, {"sfrnx.a", at::ones({1})}, {"ain.fc", at::ones({1})}};
  EXPECT_THAT(names(with_prefix_removed(tensors, "sfrn")), ElementsAre("fc.bias"));
  EXPECT_THAT(names(with_prefix_added(tensors, "m")), ElementsAre("m.sfrn.fc.bias", "m.sfrnx.a", "m.ain.fc"));
  EXPECT_TRUE(same(with_prefix_removed(with_prefix_added(tensors, "m"), "m"), tensors));
  EXPECT_TRUE(with_prefix_removed(tensors, "head").empty());
}

}  // namespace
}  // namespace mcci
