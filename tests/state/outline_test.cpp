#include "mcci/state/outline.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mcci {
namespace {

using testing::ElementsAre;

std::vector<std::string> lines(const TensorList& tensors, bool all = false) {
  std::vector<std::string> result;
  for (const OutlineRow& row : outline(tensors, all))
    result.push_back(row.name + " " + row.dtype + " " + std::to_string(row.count));
  return result;
}

TEST(Outline, BlocksThatAreAlikeAreTakenTogether) {
  const at::Tensor two = at::ones({2}), three = at::ones({3}), half = at::ones({2}, at::kHalf);
  const TensorList tensors = {{"stem", two},         {"blocks.0.a.weight", two},
                              {"blocks.0.b", three}, {"blocks.1.a.weight", two},
                              {"blocks.1.b", three}, {"blocks.2.a.weight", two},
                              {"blocks.2.b", half},  {"blocks.3.a.weight", two},
                              {"blocks.3.b", half},  {"head.0", two},
                              {"head.x", two}};
  EXPECT_THAT(lines(tensors),
              ElementsAre("stem float32 1", "blocks.{0-1}.a.weight float32 2", "blocks.{0-1}.b float32 2",
                          "blocks.{2-3}.a.weight float32 2", "blocks.{2-3}.b float16 2", "head.0 float32 1",
                          "head.x float32 1"));
  EXPECT_EQ(lines(tensors, /*all=*/true).size(), tensors.size());
}

TEST(Outline, OnlyNumbersThatFollowEachOther) {
  const at::Tensor one = at::ones({1});
  EXPECT_THAT(lines({{"layer_9.w", one},
                     {"layer_10.w", one},
                     {"layer_12.w", one},
                     {"other_13.w", one},
                     {"x.00", one},
                     {"x.01", one},
                     {"y.99999999999999999999", one}}),
              ElementsAre("layer_{9-10}.w float32 2", "layer_12.w float32 1", "other_13.w float32 1",
                          "x.00 float32 1", "x.01 float32 1", "y.99999999999999999999 float32 1"));
}

TEST(Outline, BlocksWithinBlocks) {
  TensorList tensors;
  for (const std::string layer : {"0", "1"}) {
    for (const std::string block : {"0", "1", "2"})
      tensors.emplace_back("s." + layer + ".b." + block + ".w", at::ones({1}));
  }
  EXPECT_THAT(lines(tensors), ElementsAre("s.{0-1}.b.{0-2}.w float32 6"));
}

TEST(Outline, StrangeNames) {
  const at::Tensor one = at::ones({1});
  EXPECT_THAT(lines({{"", one}, {".", one}, {"a", one}, {"a.b", one}, {"a", one}}),
              ElementsAre(" float32 1", ". float32 1", "a float32 1", "a float32 1", "a.b float32 1"));
  const std::string deep(100'000, '.');
  EXPECT_THAT(lines({{deep, one}}), ElementsAre(deep + " float32 1"));
}

TEST(Outline, NamesOfDtypes) {
  EXPECT_EQ(dtype_name(at::ones({1}, at::kBFloat16)), "bfloat16");
  EXPECT_EQ(dtype_name(at::ones({1}, at::kBool)), "bool");
  EXPECT_EQ(dtype_name(at::ones({1}, at::kLong)), "int64");
}

}  // namespace
}  // namespace mcci
