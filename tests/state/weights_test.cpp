#include "mcci/state/weights.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/state/pth.hpp"
#include "tests/core/support.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class Weights : public testing::Test {
 protected:
  // An index of two files, which are there.
  Weights() {
    save_safetensors(folder_ / "1.safetensors", {{"a", at::ones({2})}, {"b", at::zeros({3})}},
                     {{"format", "pt"}});
    save_safetensors(folder_ / "2.safetensors", {{"c", at::full({1}, 5)}});
    write_index(R"({"a":"1.safetensors","b":"1.safetensors","c":"2.safetensors"})");
  }

  void write_index(const std::string& weight_map) {
    folder_.write("model.index.json", R"({"metadata":{"total_size":24},"weight_map":)" + weight_map + "}");
  }

  void expect_refused(const std::vector<std::string>& parts, ErrorKind kind = ErrorKind::data) {
    test::expect_error(kind, parts, [&] { read_weights(folder_ / "model.index.json"); });
  }

  test::TemporaryFolder folder_;
};

std::vector<std::string> names(const WeightFile& weights) {
  std::vector<std::string> result;
  for (const auto& [name, tensor] : weights.tensors) result.push_back(name);
  return result;
}

TEST_F(Weights, ShardsBecomeOneList) {
  const WeightFile weights = read_weights(folder_ / "model.index.json");
  EXPECT_THAT(names(weights), ElementsAre("a", "b", "c"));
  EXPECT_EQ(weights.tensors[2].second.item<float>(), 5);
  EXPECT_EQ(weights.format, "safetensors in 2 files");
  EXPECT_EQ(weights.metadata.at("format"), "pt");
  EXPECT_EQ(weights.files.size(), 3U);
  EXPECT_TRUE(read_weights(folder_ / "model.index.json", Content::shapes).tensors[0].second.is_meta());
}

TEST_F(Weights, ShardsOfTorchSave) {
  save_pth(folder_ / "1.bin", {{"a", at::ones({2})}});
  write_index(R"({"a":"1.bin"})");
  EXPECT_EQ(read_weights(folder_ / "model.index.json").format, "pytorch in 1 file");
}

TEST_F(Weights, ContentTellsTheFormatNotTheName) {
  fs::copy(folder_ / "2.safetensors", folder_ / "x.bin");
  save_pth(folder_ / "x.safetensors", {{"p", at::ones({2})}});
  EXPECT_EQ(read_weights(folder_ / "x.bin").format, "safetensors");
  EXPECT_EQ(read_weights(folder_ / "x.safetensors").format, "pytorch");
  EXPECT_THAT(names(read_weights(folder_ / "x.safetensors")), ElementsAre("p"));
}

TEST_F(Weights, RefusesPathsOutOfTheFolder) {
  for (const std::string file :
       {"../1.safetensors", "/etc/passwd", "sub/1.safetensors", "..", ".", "", "a\\\\b"}) {
    write_index(R"({"a":")" + file + R"("})");
    expect_refused({"not in its own folder"});
  }
  write_index(R"({"a":"1.safetensors\u0000x"})");
  expect_refused({"not in its own folder"});
}

TEST_F(Weights, RefusesAFalseIndex) {
  write_index(R"({"a":"1.safetensors","b":"1.safetensors","c":"absent-1","d":"absent-2"})");
  expect_refused({"absent-1", "absent-2", "missing"});
  write_index(R"({"a":"1.safetensors","b":"1.safetensors","c":"1.safetensors"})");
  expect_refused({"lacks \"c\""});
  write_index(R"({"a":"1.safetensors","c":"2.safetensors"})");
  expect_refused({"also holds \"b\""});
  write_index(R"({"a":"1.safetensors","b":"2.safetensors","c":"2.safetensors"})");
  expect_refused({"\"b\""});
  write_index(R"({"a":"1.safetensors","a":"2.safetensors"})");
  expect_refused({"\"a\" twice"});
  write_index("{}");
  expect_refused({"no tensors"});
  write_index("[]");
  expect_refused({"no tensors"});
  write_index(R"({"a":5})");
  expect_refused({"no file for \"a\""});
  write_index(std::string(100'000, '['));
  expect_refused({"deeply"});
  folder_.write("model.index.json", R"({"architectures":["ViT"]})");
  expect_refused({"no index"});
  folder_.write("model.index.json", "{]");
  expect_refused({"JSON"});
  fs::remove(folder_ / "model.index.json");
  expect_refused({"model.index.json"}, ErrorKind::io);
}

TEST_F(Weights, RefusesATensorInTwoFiles) {
  save_safetensors(folder_ / "2.safetensors", {{"c", at::ones({1})}, {"a", at::ones({2})}});
  expect_refused({"2.safetensors", "also holds \"a\""});
}

TEST_F(Weights, ADamagedShardIsNamed) {
  fs::resize_file(folder_ / "2.safetensors", 20);
  expect_refused({"2.safetensors"});
}

TEST_F(Weights, FolderWithAnIndex) {
  folder_.write("config.json", R"({"hidden_size":192})");
  EXPECT_EQ(read_weights(folder_.path()).files.size(), 3U);
  // The same weights once more, as torch.save wrote them: safetensors are taken.
  save_pth(folder_ / "1.bin", {{"a", at::ones({2})}});
  folder_.write("pytorch_model.bin.index.json", R"({"weight_map":{"a":"1.bin"}})");
  EXPECT_EQ(read_weights(folder_.path()).format, "safetensors in 2 files");
}

TEST_F(Weights, FolderWithOneFile) {
  fs::remove(folder_ / "model.index.json");
  test::expect_error(ErrorKind::usage, {"several", "\"1.safetensors\", \"2.safetensors\""},
                     [&] { read_weights(folder_.path()); });
  fs::remove(folder_ / "1.safetensors");
  save_pth(folder_ / "pytorch_model.bin", {{"p", at::ones({2})}});
  folder_.write("README.md", "# A model");
  EXPECT_THAT(names(read_weights(folder_.path())), ElementsAre("c"));
  fs::remove(folder_ / "2.safetensors");
  EXPECT_THAT(names(read_weights(folder_.path())), ElementsAre("p"));
  fs::remove(folder_ / "pytorch_model.bin");
  test::expect_error(ErrorKind::usage, {"no file of weights"}, [&] { read_weights(folder_.path()); });
}

TEST_F(Weights, WhatIsNoWeightsSaysWhatItIs) {
  const auto refused = [&](const std::string& content, const std::string& part) {
    const fs::path path = folder_.write("x", content);
    test::expect_error(ErrorKind::data, {part, path.string()}, [&] { read_weights(path); });
  };
  refused(test::content_of(std::string(MCCI_FIXTURES) + "/pth/legacy.pth"), "re-save it");
  refused(std::string(257, '\0') + "ustar" + std::string(300, '\0'), "re-save it");
  refused("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull");
  refused("\x89PNG\r\n", "none of the formats");
  refused("", "none of the formats");
  refused("{", "JSON");
  refused(std::string("\xff\0\0\0\0\0\0\0{", 9), "length");
  test::expect_error(ErrorKind::io, {"absent"}, [&] { read_weights(folder_ / "absent"); });
}

TEST_F(Weights, HashIsOfTheContentAlone) {
  const std::string hash = content_hash(read_weights(folder_ / "model.index.json"));
  const test::TemporaryFolder copy;
  fs::copy(folder_.path(), copy.path());
  EXPECT_EQ(content_hash(read_weights(copy / "model.index.json")), hash);
  save_safetensors(copy / "2.safetensors", {{"c", at::full({1}, 6)}});
  EXPECT_NE(content_hash(read_weights(copy / "model.index.json")), hash);
}

}  // namespace
}  // namespace mcci
