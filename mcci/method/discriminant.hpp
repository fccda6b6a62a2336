#pragma once

#include <array>
#include <optional>
#include <utility>

#include <torch/types.h>

namespace mcci {

// Samples z [n,k] float64 that a discriminant is learned from, and their scatter, which no grouping changes.
class Samples {
 public:
  explicit Samples(torch::Tensor samples) : z(std::move(samples)) {}
  const torch::Tensor z;
  const torch::Tensor& scatter() const;  // [k,k]

 private:
  mutable torch::Tensor scatter_;  // once it is asked for
};

// What tells the samples of a group from the rest (Fisher's linear discriminant): a direction, scaled so that
// the spread within is one, and the middle between the two.
struct Discriminant {
  torch::Tensor direction, middle;  // [k] float64

  // How far on the group's side: z [n,k] -> [n].
  torch::Tensor operator()(const torch::Tensor& z) const;
};

// in [n] bool: the group. None if it, or the rest, has no members.
std::optional<Discriminant> discriminant(const Samples& samples, const torch::Tensor& in);

// The samples in two halves, each of which is heard by what the other has learned.
class Halves {
 public:
  // z [n,k] float64; half [n] int64, 0 or 1.
  Halves(const torch::Tensor& z, const torch::Tensor& half);

  // Where each sample lies along the discriminant that the other half has learned: [n]; undefined if there is
  // none, or if the group, in [n] bool, is not divided between the halves as chance would have it.
  torch::Tensor heard(const torch::Tensor& in) const;

 private:
  std::array<torch::Tensor, 2> rows_;
  std::array<Samples, 2> samples_;
};

// How unlike two groups are in what else they vary: the squared difference of their covariances, where that
// within groups is one, for each component. Of groups drawn at random it is (k + 1) (1/n + 1/m).
double unlike(const Samples& samples, const torch::Tensor& in);

}  // namespace mcci
