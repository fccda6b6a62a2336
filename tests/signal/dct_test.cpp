#include "mcci/signal/dct.hpp"

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"
#include "mcci/state/tensors.hpp"

namespace mcci {
namespace {

// The definition, one coefficient at a time, in double.
at::Tensor naive_dct2(const at::Tensor& plane) {
  const std::int64_t height = plane.size(0), width = plane.size(1);
  const auto scale = [](std::int64_t k, std::int64_t n) {
    return std::sqrt((k == 0 ? 1.0 : 2.0) / double(n));
  };
  const auto wave = [](std::int64_t k, std::int64_t i, std::int64_t n) {
    return std::cos(std::acos(-1.0) * double((2 * i + 1) * k) / double(2 * n));
  };
  at::Tensor spectrum = at::zeros({height, width}, at::kDouble);
  const auto in = plane.accessor<float, 2>();
  auto out = spectrum.accessor<double, 2>();
  for (std::int64_t u = 0; u < height; ++u) {
    for (std::int64_t v = 0; v < width; ++v) {
      double sum = 0;
      for (std::int64_t i = 0; i < height; ++i) {
        for (std::int64_t j = 0; j < width; ++j) sum += in[i][j] * wave(u, i, height) * wave(v, j, width);
      }
      out[u][v] = scale(u, height) * scale(v, width) * sum;
    }
  }
  return spectrum;
}

double max_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

at::Tensor noise(at::IntArrayRef shape) {
  at::manual_seed(7);
  return at::rand(shape) * 255;
}

TEST(DctMatrix, HandValues) {
  EXPECT_EQ(dct_matrix(1).item<float>(), 1.0F);
  const float r = std::sqrt(0.5F);
  EXPECT_LT(max_difference(dct_matrix(2), at::tensor({r, r, r, -r}).view({2, 2})), 1e-7);
  // n = 4: D[1][i] = sqrt(1/2) cos(pi (2i + 1) / 8)
  const at::Tensor row = at::tensor({0.65328148, 0.27059805, -0.27059805, -0.65328148});
  EXPECT_LT(max_difference(dct_matrix(4)[1], row), 1e-7);
}

TEST(DctMatrix, IsOrthonormal) {
  for (const std::int64_t n : {1, 3, 8, 32, 224}) {
    const at::Tensor d = dct_matrix(n);
    EXPECT_EQ(d.scalar_type(), at::kFloat);
    EXPECT_LT(max_difference(at::mm(d, d.t()), at::eye(n)), 1e-5) << n;
  }
}

TEST(DctMatrix, RefusesNoSize) { EXPECT_THROW(dct_matrix(0), Error); }

TEST(Dct2, HandValue) {
  const at::Tensor x = at::tensor({1.0F, 2.0F, 3.0F, 4.0F}).view({2, 2});
  const at::Tensor expected = at::tensor({5.0F, -1.0F, -2.0F, 0.0F}).view({2, 2});
  EXPECT_LT(max_difference(dct2(x), expected), 1e-6);
}

TEST(Dct2, MatchesTheDefinition) {
  const at::Tensor x = noise({2, 3, 6, 9});
  const at::Tensor spectrum = dct2(x);
  ASSERT_EQ(spectrum.sizes(), x.sizes());
  EXPECT_TRUE(spectrum.is_contiguous());
  for (std::int64_t b = 0; b < 2; ++b) {
    for (std::int64_t c = 0; c < 3; ++c) EXPECT_LT(max_difference(spectrum[b][c], naive_dct2(x[b][c])), 1e-3);
  }
}

// Sides that are halved to nothing, to an odd rest, not at all, and that only products can take; more columns
// or rows than are transformed side by side, and fewer.
TEST(Dct2, IsTheSameByEitherAlgorithm) {
  for (const auto& [height, width] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {2, 3}, {16, 32}, {15, 30}, {28, 6}, {17, 8}, {224, 224}}) {
    const at::Tensor x = noise({2, height, width});
    const at::Tensor products =
        at::matmul(at::matmul(dct_matrix(height), x), dct_matrix(width).t()).to(at::kDouble);
    EXPECT_LT(max_difference(dct2(x), products), 2e-6 * products.abs().max().item<double>())
        << height << "x" << width;
  }
}

TEST(Dct2, DoesNotDependOnTheNumberOfThreads) {
  const at::Tensor x = noise({5, 3, 28, 20});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = dct2(x);
  at::set_num_threads(3);
  const at::Tensor three = dct2(x);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(one, three));
}

TEST(Dct2, MatchesSciPy) {
  std::map<std::string, at::Tensor> fixture;
  for (const auto& [name, tensor] : load_safetensors(MCCI_FIXTURES "/dct.safetensors").tensors)
    fixture[name] = tensor;
  for (const std::string name : {"square", "oblong"}) {
    const at::Tensor expected = fixture.at(name + ".spectrum");
    const at::Tensor spectrum = dct2(fixture.at(name + ".input").to(at::kFloat));
    EXPECT_LT(max_difference(spectrum, expected), 2e-6 * expected.abs().max().item<double>()) << name;
  }
}

TEST(Dct2, ConstantPlaneIsAllInTheFirstCoefficient) {
  const at::Tensor spectrum = dct2(at::full({1, 3, 32, 32}, 255.0F));
  EXPECT_LT(max_difference(spectrum.select(2, 0).select(2, 0), at::full({1, 3}, 8160.0)), 0.01);
  EXPECT_NEAR((spectrum.abs().sum() - 3 * 8160.0).item<double>(), 0, 3.0);
  EXPECT_NEAR(dct2(at::full({20, 28}, 2.0F))[0][0].item<double>(), 2 * std::sqrt(20.0 * 28.0), 1e-4);
}

TEST(Dct2, KeepsEnergy) {
  const at::Tensor x = noise({5, 24, 40});
  EXPECT_LT(max_difference(dct2(x).square().sum({1, 2}) / x.square().sum({1, 2}), at::ones({5})), 1e-5);
}

TEST(Dct2, InverseTakesItBack) {
  for (const at::Tensor& x : {noise({16, 16}), noise({2, 3, 20, 28}), noise({2, 1, 3, 7, 5})}) {
    EXPECT_LT(max_difference(idct2(dct2(x)), x), 1e-3);
    EXPECT_LT(max_difference(dct2(idct2(x)), x), 1e-3);
  }
}

TEST(Dct2, DoesNotDependOnMemoryLayout) {
  const at::Tensor x = noise({2, 3, 8, 12});
  EXPECT_TRUE(at::equal(dct2(x.contiguous(at::MemoryFormat::ChannelsLast)), dct2(x)));
  EXPECT_LT(max_difference(dct2(x.transpose(2, 3)), dct2(x).transpose(2, 3)), 1e-3);
}

TEST(Dct2, OfNoImagesIsEmpty) {
  EXPECT_EQ(dct2(at::zeros({0, 3, 8, 8})).sizes(), at::IntArrayRef({0, 3, 8, 8}));
}

TEST(Dct2, GradientIsTheInverse) {
  const at::Tensor x = noise({2, 6, 10}).requires_grad_();
  const at::Tensor weights = noise({2, 6, 10}) / 255;
  (dct2(x) * weights).sum().backward();
  EXPECT_LT(max_difference(x.grad(), idct2(weights)), 1e-5);
}

TEST(Dct2, StaysInFloat32UnderAutocast) {
  const at::Tensor x = noise({4, 3, 32, 32});
  const at::Tensor expected = dct2(x);
  c10::impl::tls_set_dispatch_key_excluded(c10::DispatchKey::AutocastCPU, false);
  const at::Tensor spectrum = dct2(x);
  const at::Tensor product = at::mm(x[0][0], x[0][1]);
  at::autocast::clear_cache();
  c10::impl::tls_set_dispatch_key_excluded(c10::DispatchKey::AutocastCPU, true);
  ASSERT_EQ(product.scalar_type(), at::kBFloat16) << "autocast was not in force";
  EXPECT_TRUE(at::equal(spectrum, expected));
}

TEST(Dct2, RefusesWhatIsNoFloatPlane) {
  EXPECT_THROW(dct2(at::zeros({8})), Error);
  EXPECT_THROW(dct2(at::zeros({3, 8, 0})), Error);
  EXPECT_THROW(dct2(at::zeros({8, 8}, at::kByte)), Error);
  EXPECT_THROW(dct2(at::zeros({8, 8}, at::kDouble)), Error);
  EXPECT_THROW(idct2(at::Tensor()), Error);
}

}  // namespace
}  // namespace mcci
