#include "mcci/method/discriminant.hpp"

#include <cmath>

#include <ATen/ATen.h>

#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

constexpr double ridge = 0.01;  // of the variance
// The shares of a group in two halves drawn at random. Where they differ more, each half's discriminant has a
// few outliers in mind, and what sets the samples apart is which half they are of.
constexpr double most_unequal = 0.25;

}  // namespace

const torch::Tensor& Samples::scatter() const {
  if (!scatter_.defined()) scatter_ = z.t().mm(z);
  return scatter_;
}

torch::Tensor Discriminant::operator()(const torch::Tensor& z) const {
  return z.matmul(direction) - middle.dot(direction);
}

std::optional<Discriminant> discriminant(const Samples& samples, const torch::Tensor& in) {
  const torch::Tensor members = torch::stack({in, in.logical_not()}).to(torch::kDouble);
  const torch::Tensor counts = members.sum(1, /*keepdim=*/true);
  if (counts.min().item<double>() == 0) return std::nullopt;
  // One row at a time: a product with both takes three times as long.
  const torch::Tensor sums = torch::stack({samples.z.t().mv(members[0]), samples.z.t().mv(members[1])});
  const torch::Tensor means = sums / counts;
  torch::Tensor within =
      (samples.scatter() - (counts * means).t().mm(means)) / static_cast<double>(in.numel());
  within.diagonal().add_(ridge);
  const torch::Tensor difference = means[0] - means[1];
  const torch::Tensor direction = at::linalg_solve(within, difference);
  return Discriminant{direction / direction.dot(difference).clamp_min(1e-12).sqrt(), means.mean(0)};
}

Halves::Halves(const torch::Tensor& z, const torch::Tensor& half)
    : rows_{half.eq(0).nonzero().squeeze(1), half.eq(1).nonzero().squeeze(1)},
      samples_{Samples(z.index_select(0, rows_[0])), Samples(z.index_select(0, rows_[1]))} {}

torch::Tensor Halves::heard(const torch::Tensor& in) const {
  const auto share = [&](std::size_t i) { return share_of(in.index_select(0, rows_[i])); };
  if (std::abs(share(0) - share(1)) > most_unequal) return {};
  torch::Tensor score = torch::empty({in.numel()}, samples_[0].z.options());
  for (std::size_t i = 0; i < 2; ++i) {
    const auto learned = discriminant(samples_[1 - i], in.index_select(0, rows_[1 - i]));
    if (!learned) return {};
    score.index_copy_(0, rows_[i], (*learned)(samples_[i].z));
  }
  return score;
}

double unlike(const Samples& samples, const torch::Tensor& in) {
  const auto n = static_cast<double>(in.numel()), members = in.sum().item<double>();
  const auto centred = [](const torch::Tensor& products, const torch::Tensor& sum, double count) {
    return products - sum.outer(sum) / count;
  };
  // What the one group lacks of the whole is the other's.
  const torch::Tensor group = samples.z.index({in}), products = group.t().mm(group), sum = group.sum(0);
  const torch::Tensor first = centred(products, sum, members);
  const torch::Tensor second = centred(samples.scatter() - products, samples.z.sum(0) - sum, n - members);
  torch::Tensor within = (first + second) / n;
  within.diagonal().add_(ridge);
  const torch::Tensor root = at::linalg_cholesky(within);
  const torch::Tensor difference = first / members - second / (n - members);
  const torch::Tensor half = at::linalg_solve_triangular(root, difference, /*upper=*/false);
  const torch::Tensor whole = at::linalg_solve_triangular(root, half.t(), /*upper=*/false);
  return whole.square().sum().item<double>() / static_cast<double>(samples.z.size(1));
}

}  // namespace mcci
