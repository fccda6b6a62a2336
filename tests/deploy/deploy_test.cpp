#include <cmath>
#include <cstdlib>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/nn/functional.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/types.h>

#include "mcci/deploy/network.hpp"
#include "mcci/state/module_state.hpp"
#include "tests/core/support.hpp"

namespace mcci {
namespace {

namespace F = torch::nn::functional;
using testing::HasSubstr;
using torch::Tensor;

// What a ResNet is made of.
struct Residual : torch::nn::Module {
  Residual() {
    using Options = torch::nn::Conv2dOptions;
    stem = register_module("stem", torch::nn::Conv2d(Options(3, 8, 3).stride(2).padding(1).bias(false)));
    norm = register_module("norm", torch::nn::BatchNorm2d(8));
    block = register_module("block", torch::nn::Conv2d(Options(8, 8, 3).padding(1).bias(false)));
    second = register_module("second", torch::nn::BatchNorm2d(8));
    fc = register_module("fc", torch::nn::Linear(8, 5));
  }
  Tensor forward(const Tensor& images) {
    const Tensor x = torch::max_pool2d(norm(stem(images)).relu_(), 3, 2, 1);
    return fc((x + second(block(x))).relu_().mean({2, 3}));
  }
  torch::nn::Conv2d stem{nullptr}, block{nullptr};
  torch::nn::BatchNorm2d norm{nullptr}, second{nullptr};
  torch::nn::Linear fc{nullptr};
};

// Convolutions as mobile networks have them.
struct Convolutional : torch::nn::Module {
  Convolutional() {
    using Options = torch::nn::Conv2dOptions;
    stem = register_module(
        "stem", torch::nn::Conv2d(Options(3, 8, {3, 5}).stride({2, 1}).padding({1, 2}).bias(false)));
    norm = register_module("norm", torch::nn::BatchNorm2d(8));
    depthwise =
        register_module("depthwise", torch::nn::Conv2d(Options(8, 8, 3).padding(2).dilation(2).groups(8)));
    second = register_module("second", torch::nn::BatchNorm2d(8));
    squeeze = register_module("squeeze", torch::nn::Conv2d(Options(8, 4, 1)));
    excite = register_module("excite", torch::nn::Conv2d(Options(4, 8, 1)));
    dropout = register_module("dropout", torch::nn::Dropout(0.5));
    fc = register_module("fc", torch::nn::Linear(8 + 8 * 4, 5));
  }
  Tensor forward(const Tensor& images) {
    Tensor x = F::hardtanh(norm(stem(images)), F::HardtanhFuncOptions().min_val(-1).max_val(6)).relu_();
    x = torch::max_pool2d(x, 3, 2, 1);
    x = x + F::silu(second(depthwise(x)));
    const Tensor gate = torch::adaptive_avg_pool2d(x, {1, 1});
    x = x * excite(F::relu6(squeeze(gate))).sigmoid();
    x = x * torch::hardsigmoid(gate) + torch::hardswish(x);
    const Tensor pooled = torch::adaptive_avg_pool2d(torch::avg_pool2d(x, 3, 1, 1, false, false), {2, 2});
    return fc(dropout(torch::cat({x.mean({2, 3}), pooled.flatten(1)}, 1)));
  }
  torch::nn::Conv2d stem{nullptr}, depthwise{nullptr}, squeeze{nullptr}, excite{nullptr};
  torch::nn::BatchNorm2d norm{nullptr}, second{nullptr};
  torch::nn::Dropout dropout;
  torch::nn::Linear fc{nullptr};
};

// Sizes computed in C++, the batch's too, as a vision transformer has them.
struct Transformer : torch::nn::Module {
  static constexpr std::int64_t width = 12, heads = 3;
  Transformer() {
    patches = register_module("patches", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, width, 4).stride(4)));
    token = register_parameter("token", torch::randn({1, 1, width}));
    positions = register_parameter("positions", torch::randn({1, 17, width}));
    before = register_module("before", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})));
    qkv = register_module("qkv", torch::nn::Linear(width, 3 * width));
    out = register_module("out", torch::nn::Linear(torch::nn::LinearOptions(width, width).bias(false)));
    head = register_module("head", torch::nn::Linear(width, 6));
  }
  Tensor forward(const Tensor& images) {
    const std::int64_t batch = images.size(0);
    Tensor x = patches(images).flatten(2).transpose(1, 2);
    x = torch::cat({token.expand({batch, -1, -1}), x}, 1) + positions;
    const Tensor all = qkv(before(x)).reshape({batch, 17, 3, heads, width / heads}).permute({2, 0, 3, 1, 4});
    const Tensor q = all.select(0, 0), k = all[1], v = all[2];
    Tensor attended = (q * 0.5).matmul(k.transpose(-2, -1)).softmax(-1).matmul(v);
    // Heads as batches, whose number is a multiple of the batch's.
    const Tensor merged = q.reshape({batch * heads, 17, width / heads});
    attended = attended + merged.bmm(merged.transpose(1, 2))
                              .softmax(-1, torch::kFloat)
                              .bmm(merged)
                              .view({batch, heads, 17, width / heads});
    x = x + out(attended.transpose(1, 2).reshape({batch, 17, width}));
    return head(F::gelu(x).narrow(1, 0, 1).squeeze(1));
  }
  torch::nn::Conv2d patches{nullptr};
  Tensor token, positions;
  torch::nn::LayerNorm before{nullptr};
  torch::nn::Linear qkv{nullptr}, out{nullptr}, head{nullptr};
};

// The rest of what is translated.
struct Sundry : torch::nn::Module {
  Sundry() {
    scale = register_parameter("scale", torch::rand({6, 1, 1}) + 0.5);
    norm = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({6})));
  }
  Tensor forward(const Tensor& images) {
    Tensor x = torch::constant_pad_nd(images, {1, 0, 2, 1}, 0.25);  // [B,3,19,17]
    x = torch::cat({x, x.slice(1, 1, 3, 1), x.slice(1, -1)}, 1);    // 6 channels
    x = norm(x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2}) * scale;
    x = torch::gelu(x, "tanh").clamp(-0.5, 2).clamp_min_(-0.4) + x.tanh().abs().sqrt() -
        2 * x.pow(2).neg().exp().erf();
    const auto pieces = x.chunk(3, 1);
    const auto parts = x.split_with_sizes({2, 4}, 1);
    const auto rows = x.mean(3, true).unbind(2);
    Tensor y = pieces[0] / (2 + pieces[1].pow(3).sigmoid()) + pieces[2].sub(parts[0], 0.5);
    y = y + (rows[0] + rows[18]).narrow(1, 2, 2).unsqueeze(-1);
    y = torch::cat({y, y.slice(3, c10::nullopt, c10::nullopt, 2).expand({-1, -1, -1, -1})}, 3);
    return y.mean(2).unflatten(1, {2, 1}).squeeze(2).flatten(1).narrow(1, -9, 9) +
           parts[1].select(1, 1).select(1, -1).narrow(1, 0, 9);
  }
  Tensor scale;
  torch::nn::LayerNorm norm{nullptr};
};

template <class Net>
class Deployed {
 public:
  Deployed() {
    torch::manual_seed(7);
    net = std::make_shared<Net>();
    {
      const torch::NoGradGuard no_grad;
      net->train();
      for (int i = 0; i < 3; ++i) net->forward(torch::randn({8, 3, 16, 16}));
      for (Tensor& parameter : net->parameters()) parameter.add_(0.1 * torch::randn_like(parameter));
    }
    net->eval();
  }
  Network network() {
    return {*net, [this](const Tensor& x) { return net->forward(x); }, {3, 16, 16}};
  }
  std::shared_ptr<Net> net;
};

template <class Net>
class EveryNetwork : public testing::Test {};
using Networks = testing::Types<Residual, Convolutional, Transformer, Sundry>;
TYPED_TEST_SUITE(EveryNetwork, Networks);

TYPED_TEST(EveryNetwork, TorchScriptGivesTheSameLogits) {
  const torch::NoGradGuard no_grad;
  Deployed<TypeParam> deployed;
  const test::TemporaryFolder folder;
  save_torchscript(folder / "net.pt", deployed.network(), {{"mcci.json", R"({"classes":["a"]})"}});
  torch::jit::ExtraFilesMap notes = {{"mcci.json", ""}};
  torch::jit::Module loaded = torch::jit::load((folder / "net.pt").string(), c10::nullopt, notes);
  EXPECT_EQ(notes["mcci.json"], R"({"classes":["a"]})");
  for (const std::int64_t batch : {1, 2, 7}) {
    const Tensor images = torch::rand({batch, 3, 16, 16});
    const Tensor expected = deployed.net->forward(images);
    EXPECT_TRUE(torch::allclose(loaded.forward({images}).toTensor(), expected, 1e-5, 1e-6)) << batch;
  }
  // Names are kept: it is also a file of weights.
  std::size_t found = 0;
  for (const auto& parameter : loaded.named_parameters()) {
    EXPECT_TRUE(torch::equal(parameter.value, deployed.net->named_parameters()[parameter.name]));
    ++found;
  }
  EXPECT_EQ(found, deployed.net->parameters().size());
  EXPECT_EQ(folder.names().size(), 1U);
}

TYPED_TEST(EveryNetwork, OnnxGivesTheSameLogitsElsewhere) {
  const torch::NoGradGuard no_grad;
  Deployed<TypeParam> deployed;
  const test::TemporaryFolder folder;
  save_onnx(folder / "net.onnx", deployed.network(), {{"mcci.json", "{}"}});
  const std::string bytes = test::content_of(folder / "net.onnx");
  EXPECT_THAT(bytes, HasSubstr("mcci.json"));
  const Tensor images = torch::rand({3, 3, 16, 16});
  save_safetensors(folder / "io.safetensors", {{"input", images}, {"logits", deployed.net->forward(images)}});
  const std::string files = (folder / "net.onnx").string() + " " + (folder / "io.safetensors").string();
  // Debian's python3-onnx and python3-opencv, or what another Python has. OpenCV 4.6 knows few operators.
  const char* python = std::getenv("MCCI_PYTHON");
  const std::string command =
      std::string(python == nullptr ? "/usr/bin/python3" : python) + " " + MCCI_FIXTURES +
      "/../parity/check_onnx.py " + files +
      (std::is_same_v<TypeParam, Residual> ? "" : " --runtimes onnxruntime,operators");
  if (std::system("/usr/bin/python3 -c 'import numpy' 2>/dev/null") != 0) GTEST_SKIP() << "there is no NumPy";
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no runtime for ONNX is installed";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// --- what cannot be written ---

class Function : public torch::nn::Module {};

void expect_refused(const std::function<Tensor(const Tensor&)>& forward,
                    const std::vector<std::string>& parts, bool onnx_only = false) {
  const test::TemporaryFolder folder;
  Function module;
  const Network network = {module, forward, {3, 4, 4}};
  if (onnx_only) {
    save_torchscript(folder / "net", network, {});
    std::filesystem::remove(folder / "net");
  } else {
    test::expect_error(ErrorKind::usage, parts, [&] { save_torchscript(folder / "net", network, {}); });
  }
  test::expect_error(ErrorKind::usage, parts, [&] { save_onnx(folder / "net", network, {}); });
  EXPECT_TRUE(folder.names().empty());
}

TEST(Refusals, AnOperatorThatIsNotTranslatedIsNamed) {
  expect_refused([](const Tensor& x) { return x.flatten(1).cumsum(1); }, {"aten::cumsum"}, true);
  expect_refused([](const Tensor& x) { return x.mean().expand({x.size(0), 2}); }, {"aten::mean"}, true);
  expect_refused([](const Tensor& x) { return x.flatten(1).to(torch::kDouble); }, {"aten::to"}, true);
}

TEST(Refusals, WhatDependsOnTheNumberOfImages) {
  expect_refused([](const Tensor& x) { return x.flatten(1) * static_cast<double>(x.size(0) + 0.5); },
                 {"number of images"});
  expect_refused([](const Tensor& x) { return x.flatten(1).narrow(1, 0, x.size(0) + 1); },
                 {"number of images"});
  expect_refused([](const Tensor& x) { return x.size(0) > 2 ? x.flatten(1).relu() : x.flatten(1); },
                 {"number of images"});
  expect_refused([](const Tensor& x) { return x.size(0) > 4 ? x.flatten(1) + 1 : x.flatten(1); },
                 {"other results"});
}

TEST(Refusals, AFullDiskAndAFolderThatIsNotThere) {
  Deployed<Convolutional> deployed;
  test::expect_error(ErrorKind::io, {"absent"},
                     [&] { save_onnx("/absent/net.onnx", deployed.network(), {}); });
  test::expect_error(ErrorKind::io, {"absent"},
                     [&] { save_torchscript("/absent/net.pt", deployed.network(), {}); });
}

}  // namespace
}  // namespace mcci
