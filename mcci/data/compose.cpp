#include "mcci/data/compose.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"
#include "mcci/data/fit.hpp"
#include "mcci/data/source.hpp"

namespace mcci {
namespace {

class Subset : public Dataset {
 public:
  Subset(DatasetPtr data, const at::Tensor& indices)
      : data_(std::move(data)),
        indices_(checked_indices(indices, data_->size())),
        labels_(data_->labels().index_select(0, indices_)) {}

  const ImageShape& shape() const override { return data_->shape(); }
  const std::vector<std::string>& classes() const override { return data_->classes(); }
  const at::Tensor& labels() const override { return labels_; }
  std::string name(std::int64_t index) const override {
    return data_->name(indices_[index].item<std::int64_t>());
  }
  at::Tensor images(const at::Tensor& indices) const override {
    return data_->images(indices_.index_select(0, checked_indices(indices, size())));
  }

 private:
  DatasetPtr data_;
  at::Tensor indices_;
  at::Tensor labels_;
};

class Concatenation : public Dataset {
 public:
  Concatenation(DatasetPtr first, DatasetPtr second)
      : first_(std::move(first)),
        second_(std::move(second)),
        labels_(at::cat({first_->labels(), second_->labels()})) {}

  const ImageShape& shape() const override { return first_->shape(); }
  const std::vector<std::string>& classes() const override { return first_->classes(); }
  const at::Tensor& labels() const override { return labels_; }
  std::string name(std::int64_t index) const override {
    return index < first_->size() ? first_->name(index) : second_->name(index - first_->size());
  }
  at::Tensor images(const at::Tensor& indices) const override {
    const at::Tensor all = checked_indices(indices, size());
    const ImageShape& s = shape();
    at::Tensor result = at::empty({all.size(0), s.channels, s.height, s.width}, at::kByte);
    const at::Tensor of_second = all.ge(first_->size());
    const at::Tensor here = of_second.logical_not().nonzero().squeeze(1);
    const at::Tensor there = of_second.nonzero().squeeze(1);
    if (here.numel() > 0) result.index_copy_(0, here, first_->images(all.index_select(0, here)));
    if (there.numel() > 0)
      result.index_copy_(0, there, second_->images(all.index_select(0, there) - first_->size()));
    return result;
  }

 private:
  DatasetPtr first_;
  DatasetPtr second_;
  at::Tensor labels_;
};

// `wanted(n)` of the n samples of each class, between 1 and n.
template <class Wanted>
at::Tensor drawn_of_each_class(const Dataset& data, std::uint64_t seed, Wanted wanted) {
  std::vector<at::Tensor> chosen = {at::empty({0}, at::kLong)};
  for (std::int64_t c = 0; c < data.num_classes(); ++c) {
    const at::Tensor members = data.labels().eq(c).nonzero().squeeze(1);
    if (members.numel() == 0) continue;
    Rng rng(derive_seed(seed, "some of each class", {static_cast<std::uint64_t>(c)}));
    const std::vector<std::int64_t> drawn =
        rng.choose(members.numel(), std::clamp<std::int64_t>(wanted(members.numel()), 1, members.numel()));
    chosen.push_back(members.index_select(0, at::tensor(drawn, at::kLong)));
  }
  return std::get<0>(at::cat(chosen).sort());
}

}  // namespace

DatasetPtr subset(DatasetPtr data, const at::Tensor& indices) {
  return std::make_shared<Subset>(std::move(data), indices);
}

DatasetPtr concatenate(DatasetPtr first, DatasetPtr second) {
  if (first->shape() != second->shape() || first->classes() != second->classes()) {
    throw Error(ErrorKind::usage, "data sets of other shapes or classes cannot be put together: images of " +
                                      to_text(first->shape()) + " in " +
                                      std::to_string(first->num_classes()) + " classes and of " +
                                      to_text(second->shape()) + " in " +
                                      std::to_string(second->num_classes()));
  }
  return std::make_shared<Concatenation>(std::move(first), std::move(second));
}

at::Tensor share_of_each_class(const Dataset& data, double share, std::uint64_t seed) {
  return drawn_of_each_class(data, seed,
                             [&](std::int64_t n) { return std::llround(share * static_cast<double>(n)); });
}

at::Tensor some_of_each_class(const Dataset& data, std::int64_t count, std::uint64_t seed) {
  return drawn_of_each_class(data, seed, [&](std::int64_t) { return count; });
}

}  // namespace mcci
