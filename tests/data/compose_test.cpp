#include "mcci/data/compose.hpp"

#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

using ::testing::ElementsAre;

// Image i is all `first + i`.
DatasetPtr numbered(std::int64_t first, const std::vector<std::int64_t>& labels,
                    const std::vector<std::string>& classes = {"a", "b", "c"}) {
  const auto n = static_cast<std::int64_t>(labels.size());
  const at::Tensor images = (first + at::arange(n)).view({n, 1, 1, 1}).expand({n, 1, 2, 2}).to(at::kByte);
  return make_memory_dataset(images.contiguous(), at::tensor(labels, at::kLong), classes);
}

std::vector<std::int64_t> listed(const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kLong).contiguous();
  return {flat.data_ptr<std::int64_t>(), flat.data_ptr<std::int64_t>() + flat.numel()};
}

std::vector<std::int64_t> pixels(const Dataset& data, const std::vector<std::int64_t>& positions) {
  return listed(data.images(at::tensor(positions, at::kLong)).select(3, 0).select(2, 0).squeeze(1));
}

TEST(Subset, HasItsSamplesInTheirOrder) {
  const DatasetPtr data = subset(numbered(10, {0, 1, 2, 1}), at::tensor({3, 0, 0}, at::kLong));
  EXPECT_THAT(listed(data->labels()), ElementsAre(1, 0, 0));
  EXPECT_THAT(pixels(*data, {0, 2}), ElementsAre(13, 10));
  EXPECT_EQ(data->name(0), "#3");
  EXPECT_THROW(data->images(at::tensor({3}, at::kLong)), Error);
  EXPECT_THROW(subset(numbered(0, {0}), at::tensor({1}, at::kLong)), Error);
}

TEST(Concatenation, HasTheSecondBehindTheFirst) {
  const DatasetPtr data = concatenate(numbered(10, {0, 1}), numbered(50, {2, 0, 1}));
  EXPECT_THAT(listed(data->labels()), ElementsAre(0, 1, 2, 0, 1));
  EXPECT_THAT(pixels(*data, {4, 0, 2, 1}), ElementsAre(52, 10, 50, 11));
  EXPECT_THAT(pixels(*data, {3, 2}), ElementsAre(51, 50));
  EXPECT_THAT(pixels(*data, {1}), ElementsAre(11));
  EXPECT_EQ(data->name(1), "#1");
  EXPECT_EQ(data->name(4), "#2");
  EXPECT_THROW(data->images(at::tensor({5}, at::kLong)), Error);
  EXPECT_THROW(concatenate(numbered(0, {0}), numbered(0, {0}, {"a", "b", "x"})), Error);
}

TEST(EachClass, GivesAShareOrACountOfItsSamples) {
  std::vector<std::int64_t> labels(40, 0);
  for (std::size_t i = 0; i < 10; ++i) labels[3 * i] = 2;
  const DatasetPtr data = numbered(0, labels);
  const auto counts = [&](const at::Tensor& chosen) {
    const at::Tensor of_chosen = data->labels().index_select(0, chosen);
    return std::pair(of_chosen.eq(0).sum().item<std::int64_t>(), of_chosen.eq(2).sum().item<std::int64_t>());
  };
  const at::Tensor half = share_of_each_class(*data, 0.5, 7);
  EXPECT_EQ(counts(half), std::pair(std::int64_t{15}, std::int64_t{5}));
  EXPECT_TRUE(half.equal(std::get<0>(half.sort()))) << "ascending";
  EXPECT_TRUE(half.equal(share_of_each_class(*data, 0.5, 7)));
  EXPECT_FALSE(half.equal(share_of_each_class(*data, 0.5, 8)));
  EXPECT_EQ(counts(share_of_each_class(*data, 0.001, 7)), std::pair(std::int64_t{1}, std::int64_t{1}));
  EXPECT_EQ(counts(some_of_each_class(*data, 12, 7)), std::pair(std::int64_t{12}, std::int64_t{10}));
}

}  // namespace
}  // namespace mcci
