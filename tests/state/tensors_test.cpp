#include "mcci/state/tensors.hpp"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <unistd.h>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "tests/state/files.hpp"

namespace mcci {
namespace {

using testing::HasSubstr;

class Safetensors : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  // A file of this header (its length put before it) and `data`.
  void write(const std::string& header, const std::string& data = "") {
    const std::uint64_t length = header.size();
    write_raw(std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data);
  }

  void write_raw(const std::string& bytes) {
    std::filesystem::remove(
        path_);  // some file systems flush a file to the disk when it is overwritten in place
    std::ofstream(path_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  TensorFile round_trip(const TensorList& tensors, const std::map<std::string, std::string>& metadata = {}) {
    save_safetensors(path_, tensors, metadata);
    return load_safetensors(path_);
  }

  // The message of the error with which loading fails; empty if it does not fail.
  std::string load_error(ErrorKind kind = ErrorKind::data) {
    try {
      load_safetensors(path_);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(path_.string()));
      return error.what();
    }
    return "";
  }

  std::string save_error(const TensorList& tensors, const std::map<std::string, std::string>& metadata = {}) {
    try {
      save_safetensors(path_, tensors, metadata);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
      EXPECT_FALSE(std::filesystem::exists(path_));
      return error.what();
    }
    return "";
  }

  std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) / ("mcci_state_" + std::to_string(getpid()) + ".safetensors");
};

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}";
}

const at::ScalarType all_dtypes[] = {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong,
                                     at::kInt,    at::kShort, at::kChar, at::kByte,     at::kBool};

TEST_F(Safetensors, EveryDtypeAndShapeComesBack) {
  at::manual_seed(1);
  const std::vector<std::vector<std::int64_t>> shapes = {{}, {0}, {1}, {5}, {3, 0, 2}, {2, 3}, {3, 1, 2, 5}};
  TensorList tensors;
  for (const at::ScalarType dtype : all_dtypes) {
    for (const auto& shape : shapes) {
      const at::Tensor values = at::randn(shape) * 50;
      tensors.emplace_back(
          "t" + std::to_string(tensors.size()),
          dtype == at::kBool ? values > 0 : (dtype == at::kByte ? values.abs() : values).to(dtype));
    }
  }
  const TensorFile file = round_trip(tensors);
  EXPECT_TRUE(file.metadata.empty());
  ASSERT_EQ(file.tensors.size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(file.tensors[i].first, tensors[i].first);
    EXPECT_EQ(file.tensors[i].second.scalar_type(), tensors[i].second.scalar_type());
    EXPECT_TRUE(at::equal(file.tensors[i].second, tensors[i].second)) << tensors[i].first;
  }
}

TEST_F(Safetensors, SpecialValuesComeBackBitByBit) {
  const at::Tensor values = at::tensor({std::nan(""), HUGE_VAL, -HUGE_VAL, -0.0, 1e-310});
  const at::Tensor extremes =
      at::tensor({std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()});
  const TensorFile file = round_trip({{"v", values}, {"e", extremes}});
  EXPECT_EQ(std::memcmp(file.tensors[0].second.data_ptr(), values.data_ptr(), values.nbytes()), 0);
  EXPECT_TRUE(at::equal(file.tensors[1].second, extremes));
}

TEST_F(Safetensors, NamesAndMetadataComeBack) {
  const std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                       {"note", "quote \" line\n unit \u00b5"}};
  const TensorFile file = round_trip({{"", at::ones({1})}, {"a.\"b\"\t\u00e4", at::zeros({2})}}, metadata);
  EXPECT_EQ(file.metadata, metadata);
  EXPECT_EQ(file.tensors[0].first, "");
  EXPECT_EQ(file.tensors[1].first, "a.\"b\"\t\u00e4");
}

TEST_F(Safetensors, NothingComesBackAsNothing) { EXPECT_TRUE(round_trip({}).tensors.empty()); }

TEST_F(Safetensors, StridedTensorsAreWrittenRowMajor) {
  const at::Tensor x = at::arange(48).view({2, 3, 4, 2}).to(at::kFloat);
  const at::Tensor view = x.contiguous(at::MemoryFormat::ChannelsLast).transpose(0, 3).slice(1, 1, 3);
  const at::Tensor parameter = view.clone().requires_grad_();
  const TensorFile file = round_trip({{"view", view}, {"parameter", parameter}});
  EXPECT_TRUE(at::equal(file.tensors[0].second, view));
  EXPECT_TRUE(file.tensors[0].second.is_contiguous());
  EXPECT_FALSE(file.tensors[1].second.requires_grad());
}

TEST_F(Safetensors, FileIsLaidOutAsDocumented) {
  save_safetensors(path_,
                   {{"b", at::tensor({std::int16_t{258}}, at::kShort)}, {"f", at::tensor({1.0F, -2.0F})}});
  const std::string expected =
      R"({"b":{"dtype":"I16","shape":[1],"data_offsets":[8,10]},"f":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::string bytes = read_file(path_, 1000);
  const std::size_t length = static_cast<unsigned char>(bytes[0]);
  EXPECT_EQ(bytes.substr(1, 7), std::string(7, '\0'));
  EXPECT_EQ(length % 8, 0U);
  EXPECT_EQ(bytes.substr(8, expected.size()), expected);
  EXPECT_EQ(bytes.substr(8 + expected.size(), length - expected.size()),
            std::string(length - expected.size(), ' '));
  EXPECT_EQ(bytes.substr(8 + length), std::string("\0\0\x80\x3f\0\0\0\xc0\x02\x01", 10));
}

TEST_F(Safetensors, ReadsAHandMadeFile) {
  write("{" + entry("x", "I32", "[2]", "[1,9]") + "," + entry("y", "BOOL", "[]", "[0,1]") + "}  ",
        std::string("\x01\x05\0\0\0\xff\xff\xff\xff", 9));
  const TensorFile file = load_safetensors(path_);
  EXPECT_TRUE(at::equal(file.tensors[0].second, at::tensor({5, -1}, at::kInt)));
  EXPECT_TRUE(file.tensors[1].second.item<bool>());
}

TEST_F(Safetensors, RefusesToWriteWhatTheFormatLacks) {
  EXPECT_THAT(save_error({{"z", at::zeros({2}, at::kComplexFloat)}}), HasSubstr("\"z\""));
  EXPECT_THAT(save_error({{"a", at::ones({1})}, {"a", at::ones({1})}}), HasSubstr("\"a\""));
  EXPECT_THAT(save_error({{"__metadata__", at::ones({1})}}), HasSubstr("reserved"));
  EXPECT_THAT(save_error({{"u", at::Tensor()}}), HasSubstr("\"u\""));
  EXPECT_THAT(save_error({{"s", at::eye(2).to_sparse()}}), HasSubstr("\"s\""));
  EXPECT_THAT(save_error({{"\xff", at::ones({1})}}), HasSubstr("UTF-8"));
  EXPECT_THAT(save_error({}, {{"key", "\xc3"}}), HasSubstr("UTF-8"));
}

TEST_F(Safetensors, ShapesComeWithoutData) {
  save_safetensors(path_, {{"a", at::ones({2, 3}, at::kHalf)}, {"b", at::zeros({}, at::kLong)}},
                   {{"k", "v"}});
  const TensorFile file = load_safetensors(path_, Content::shapes);
  EXPECT_EQ(file.metadata.at("k"), "v");
  EXPECT_TRUE(file.tensors[0].second.is_meta());
  EXPECT_EQ(file.tensors[0].second.sizes(), (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file.tensors[0].second.scalar_type(), at::kHalf);
  EXPECT_EQ(file.tensors[1].second.dim(), 0);
}

TEST_F(Safetensors, FailedWriteIsAnIoError) {
  try {
    save_safetensors(path_ / "no" / "such.safetensors", {{"a", at::ones({1})}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
  }
}

TEST_F(Safetensors, UnreadableFilesAreIoErrors) {
  EXPECT_THAT(load_error(ErrorKind::io), HasSubstr("No such file"));
  path_ = testing::TempDir();
  EXPECT_THAT(load_error(ErrorKind::io), HasSubstr("no file"));
  path_ = "/dev/zero";
  EXPECT_THAT(load_error(ErrorKind::io), HasSubstr("no file"));
  path_.clear();
}

TEST_F(Safetensors, RefusesAFalseHeaderLength) {
  write_raw("1234567");
  EXPECT_THAT(load_error(), HasSubstr("too short"));
  write_raw(std::string(8, '\0'));
  EXPECT_THAT(load_error(), HasSubstr("begin with '{'"));
  write_raw(std::string("\x03\0\0\0\0\0\0\0{}", 10));
  EXPECT_THAT(load_error(), HasSubstr("length"));
  write_raw(std::string(8, '\xff') + "{}");
  EXPECT_THAT(load_error(), HasSubstr("length"));
  write(" {}");
  EXPECT_THAT(load_error(), HasSubstr("begin with '{'"));
}

TEST_F(Safetensors, RefusesEveryTruncationAndAnyExtension) {
  save_safetensors(path_, {{"a", at::ones({3})}, {"b", at::zeros({2}, at::kByte)}});
  const std::string whole = read_file(path_, 1000);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_raw(whole.substr(0, size));
    EXPECT_NE(load_error(), "") << size;
  }
  write_raw(whole + '\0');
  EXPECT_THAT(load_error(), HasSubstr("bytes of data"));
}

struct BadHeader {
  std::string header;
  std::string message;
};

TEST_F(Safetensors, RefusesAFalseHeader) {
  const std::string a = entry("a", "U8", "[4]", "[0,4]");
  const std::string deep(100'000, '[');
  std::string many_ones = "[1";
  for (int i = 0; i < 64; ++i) many_ones += ",1";
  many_ones += "]";
  const BadHeader bad[] = {
      {"{" + a, "JSON"},
      {"{" + a + "}x", "JSON"},
      {"{" + a + "}}", "JSON"},
      {"{\"a\xff\":{}}", "JSON"},
      {"{\"a\":" + deep, "an array"},
      {R"({"a":{"shape":)" + deep, "an array"},
      {R"({"a":{"dtype":{}}})", "an object"},
      {R"({"a":{"b":{"c":{}}}})", "an object"},
      {R"({"a":5})", "a number"},
      {R"({"a":null})", "null"},
      {R"({"a":"F32"})", "a string"},
      {R"({"a":{"dtype":true}})", "a boolean"},
      {R"({"a":{"extra":"text"}})", "a string"},
      {"{" + entry("a", "U8", "[-4]", "[0,4]") + "}", "a negative number"},
      {"{" + entry("a", "U8", "[4.0]", "[0,4]") + "}", "a fraction"},
      {"{" + entry("a", "U8", "[18446744073709551616]", "[0,4]") + "}", "beyond 64 bits"},
      {"{" + entry("a", "U8", "4", "[0,4]") + "}", "a number"},
      {"{" + entry("a", "U8", "[4]", "[0]") + "}", "two numbers"},
      {"{" + entry("a", "U8", "[4]", "[0,4,4]") + "}", "two numbers"},
      {R"({"a":{}})", "lacks"},
      {R"({"a":{"dtype":"U8","shape":[4]}})", "lacks"},
      {"{" + a + "," + a + "}", "twice"},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}})", "twice"},
      {R"({"__metadata__":{"k":"v","k":"v"},)" + a + "}", "twice"},
      {R"({"__metadata__":{},"__metadata__":{},)" + a + "}", "twice"},
      {R"({"__metadata__":{"k":1},)" + a + "}", "a number"},
      {R"({"__metadata__":{"shape":[1]},)" + a + "}", "an array"},
      {R"({"__metadata__":"text",)" + a + "}", "a string"},
      {"{" + entry("a", "F8", "[4]", "[0,4]") + "}", "unknown dtype"},
      {"{" + entry("a", "u8", "[4]", "[0,4]") + "}", "unknown dtype"},
      {"{" + entry("a", "U8", "[3]", "[0,4]") + "}", "needs 3 bytes"},
      {"{" + entry("a", "F32", "[2]", "[0,4]") + "}", "needs 8 bytes"},
      {"{" + entry("a", "U8", "[4]", "[4,0]") + "}", "needs 4 bytes"},
      {"{" + entry("a", "U8", "[0,4]", "[0,4]") + "}", "needs 0 bytes"},
      {"{" + entry("a", "U8", "[8]", "[0,8]") + "}", "speaks of 8 bytes"},
      {"{" + entry("a", "U8", "[3]", "[0,3]") + "}", "speaks of 3 bytes"},
      {"{" + entry("a", "U8", "[3]", "[1,4]") + "}", "hole"},
      {"{" + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[1]", "[3,4]") + "}", "hole"},
      {"{" + a + "," + entry("b", "U8", "[2]", "[2,4]") + "}", "overlaps"},
      {"{" + a + "," + entry("b", "U8", "[4]", "[0,4]") + "}", "overlaps"},
      {"{" + a + "," + entry("b", "U8", "[0]", "[9,9]") + "}", "hole"},
      {"{" + entry("a", "U8", "[4294967296,4294967296,4]", "[0,4]") + "}", "too large"},
      {"{" + entry("a", "F32", "[4611686018427387905]", "[0,4]") + "}", "too large"},
      {"{" + entry("a", "U8", "[0,4294967296,4294967296]", "[0,0]") + "}", "too large"},
      {"{" + entry("a", "U8", "[18446744073709551615]", "[0,4]") + "}", "too large"},
      {"{" + entry("a", "U8", many_ones, "[0,1]") + "}", "dimensions"},
  };
  for (const BadHeader& one : bad) {
    write(one.header, "data");
    EXPECT_THAT(load_error(), HasSubstr(one.message)) << one.header.substr(0, 200);
  }
}

TEST_F(Safetensors, ZeroSizedTensorsMayStandAnywhere) {
  write("{" + entry("a", "U8", "[4]", "[0,4]") + "," + entry("b", "U8", "[0,7]", "[4,4]") + "," +
            entry("c", "F64", "[0]", "[0,0]") + "}",
        "data");
  EXPECT_EQ(load_error(), "");
}

TEST_F(Safetensors, RefusesABoolThatIsNone) {
  write("{" + entry("a", "BOOL", "[2]", "[0,2]") + "}", "\x01\x02");
  EXPECT_THAT(load_error(), HasSubstr("neither 0 nor 1"));
}

TEST_F(Safetensors, MessagesStayReadable) {
  write("{" + entry("\\u001b[31m" + std::string(5000, 'x'), "U8", "[4]", "[0,3]") + "}", "data");
  const std::string message = load_error();
  EXPECT_LT(message.size(), 600U);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

// Changes a valid file at random, always in the same way: whatever comes out, loading succeeds or throws an
// Error.
TEST_F(Safetensors, MutatedFilesNeverDoHarm) {
  save_safetensors(path_,
                   {{"conv.weight", at::ones({2, 3, 1, 1})},
                    {"steps", at::zeros({}, at::kLong)},
                    {"mask", at::ones({5}, at::kBool)},
                    {"empty", at::zeros({0, 4}, at::kHalf)}},
                   {{"format", "pt"}});
  const std::string whole = read_file(path_, 10'000);
  std::mt19937_64 random(2025);
  const std::string tokens[] = {
      "{", "}", "[", "]", ",", "\"", ":", "0", "9", "-", "18446744073709551615", "1e9", "\\u0000"};
  int loaded = 0, refused = 0;
  for (int round = 0; round < 4000; ++round) {
    const std::string bytes = test::mutated(whole, random, tokens);
    write_raw(bytes);
    try {
      std::size_t size = 0;
      for (const auto& [name, tensor] : load_safetensors(path_).tensors) size += tensor.nbytes();
      EXPECT_LT(size, bytes.size());
      ++loaded;
    } catch (const Error& error) {
      EXPECT_NE(error.kind(), ErrorKind::internal) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(loaded, 50);
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace mcci
