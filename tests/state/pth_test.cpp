#include "mcci/state/pth.hpp"

#include <filesystem>
#include <fstream>
#include <map>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/state/pickle.hpp"
#include "mcci/state/zip_archive.hpp"
#include "tests/core/support.hpp"
#include "tests/state/files.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

std::string fixture(const std::string& name) { return std::string(MCCI_FIXTURES) + "/pth/" + name; }

// The message of the data error with which reading fails; empty if it does not fail.
template <class Read>
std::string data_error(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
    return error.what();
  }
  return "";
}

void expect_same_tensors(const TensorList& actual, const std::string& expected_file) {
  const TensorFile expected = load_safetensors(fixture(expected_file));
  const std::map<std::string, at::Tensor> by_name(expected.tensors.begin(), expected.tensors.end());
  ASSERT_EQ(actual.size(), by_name.size());
  for (const auto& [name, tensor] : actual) {
    ASSERT_EQ(by_name.count(name), 1U) << name;
    EXPECT_EQ(tensor.scalar_type(), by_name.at(name).scalar_type()) << name;
    EXPECT_TRUE(at::equal(tensor, by_name.at(name))) << name;
  }
}

// --- what Python's torch.save writes ---

TEST(Pth, StateDictOfPyTorch) {
  const TensorFile file = load_pth(fixture("state_dict.pth"));
  expect_same_tensors(file.tensors, "expected.safetensors");
  EXPECT_EQ(file.tensors.front().first, "dtype.float64");  // in the order in which they were saved
  EXPECT_TRUE(file.metadata.empty());
  EXPECT_TRUE(file.left_out.empty());
}

TEST(Pth, ViewsOfOneStorageStillShareIt) {
  TensorFile file = load_pth(fixture("state_dict.pth"));
  std::map<std::string, at::Tensor> tensors(file.tensors.begin(), file.tensors.end());
  EXPECT_TRUE(tensors["rows"].is_alias_of(tensors["transposed"]));
  EXPECT_THAT(tensors["transposed"].strides().vec(), ElementsAre(1, 6));
  EXPECT_EQ(tensors["rows"].storage_offset(), 4);
}

TEST(Pth, CheckpointGivesItsStateDictAndItsPlainValues) {
  const TensorFile file = load_pth(fixture("checkpoint.pth"));
  expect_same_tensors(file.tensors, "expected.safetensors");
  const std::map<std::string, std::string> expected = {{"epoch", "3"},
                                                       {"best", "0.93"},
                                                       {"count", "12"},
                                                       {"done", "true"},
                                                       {"rate", "0.5"},
                                                       {"note", "none"},
                                                       {"dtype", "torch.float32"},
                                                       {"negative", "-300"},
                                                       {"args.lr", "0.1"},
                                                       {"args.arch", "resnet8"},
                                                       {"args.out", "x"},
                                                       {"wide", "1099511627776"}};
  EXPECT_EQ(file.metadata, expected);
  EXPECT_THAT(file.left_out, UnorderedElementsAre("device", "size", "names", "curve", "raw", "big",
                                                  "by_class", "args.milestones", "optimizer"));
}

TEST(Pth, OtherProtocolsAndSizes) {
  expect_same_tensors(load_pth(fixture("protocol5.pth")).tensors, "expected.safetensors");
  const TensorFile one = load_pth(fixture("one.pth"));
  ASSERT_EQ(one.tensors.size(), 1U);
  EXPECT_TRUE(at::equal(one.tensors[0].second, at::tensor({1.0F, 2.0F})));
}

TEST(Pth, ShapesComeWithoutData) {
  const TensorFile whole = load_pth(fixture("state_dict.pth"));
  const TensorFile shapes = load_pth(fixture("state_dict.pth"), Content::shapes);
  ASSERT_EQ(shapes.tensors.size(), whole.tensors.size());
  for (std::size_t i = 0; i < whole.tensors.size(); ++i) {
    EXPECT_TRUE(shapes.tensors[i].second.is_meta());
    EXPECT_EQ(shapes.tensors[i].second.sizes(), whole.tensors[i].second.sizes());
    EXPECT_EQ(shapes.tensors[i].second.scalar_type(), whole.tensors[i].second.scalar_type());
  }
}

TEST(Pth, RefusesWhatIsNoWeights) {
  const std::pair<const char*, const char*> refused[] = {
      {"command.pth", "asks for \"posix.system\""},
      {"module.pth", "asks for \"torch.nn.modules.linear.Linear\""},
      {"several.pth", "\"generator\", \"discriminator\""},
      {"expanded.pth", "more elements than its storage"},
      {"complex_numbers.pth", "ComplexFloatStorage"},
      {"nothing.pth", "no named tensors"},
      {"single.pth", "a single tensor"},
      {"program.pth", "TorchScript"},
      {"legacy.pth", "no zip archive"},
  };
  for (const auto& [name, message] : refused) {
    const std::string error = data_error([&, n = name] { load_pth(fixture(n)); });
    EXPECT_THAT(error, HasSubstr(message)) << name;
    EXPECT_THAT(error, HasSubstr(name));
  }
  EXPECT_FALSE(fs::exists("/tmp/mcci-was-here"));
  test::expect_error(ErrorKind::io, {"absent.pth"}, [] { load_pth(fixture("absent.pth")); });
}

// --- what is written here ---

TEST(Pth, WhatIsWrittenComesBack) {
  const test::TemporaryFolder folder;
  const TensorList tensors = load_pth(fixture("state_dict.pth")).tensors;
  save_pth(folder / "again.pth", tensors);
  expect_same_tensors(load_pth(folder / "again.pth").tensors, "expected.safetensors");
  save_pth(folder / "none.pth", {});
  EXPECT_THAT(data_error([&] { load_pth(folder / "none.pth"); }), HasSubstr("no named tensors"));
}

TEST(Pth, RefusesToWriteWhatCannotBeRead) {
  const test::TemporaryFolder folder;
  const auto save = [&](const TensorList& tensors) { save_pth(folder / "x.pth", tensors); };
  const at::Tensor one = at::ones({1});
  test::expect_error(ErrorKind::usage, {"\"z\"", "Complex"}, [&] {
    save({{"z", at::zeros({2}, at::kComplexFloat)}});
  });
  test::expect_error(ErrorKind::usage, {"two tensors"}, [&] { save({{"a", one}, {"a", one}}); });
  test::expect_error(ErrorKind::usage, {"UTF-8"}, [&] { save({{"\xff", one}}); });
  test::expect_error(ErrorKind::usage, {"dense"}, [&] { save({{"s", at::eye(2).to_sparse()}}); });
  EXPECT_TRUE(folder.names().empty());
  test::expect_error(ErrorKind::io, {"absent"}, [&] { save_pth(folder / "absent/x.pth", {{"a", one}}); });
  // A disk that is full tells so, and leaves nothing.
  test::expect_error(ErrorKind::io, {"regular file"}, [&] { save_pth("/dev/full", {{"a", one}}); });
}

// --- pickles by hand ---

std::string text(const std::string& value) {
  return std::string("X") + static_cast<char>(value.size()) + std::string(3, '\0') + value;
}

std::string number(int value) {
  return value < 0 ? std::string("J") + std::string(reinterpret_cast<const char*>(&value), 4)
                   : std::string("M") + static_cast<char>(value & 255) + static_cast<char>(value >> 8);
}

std::string numbers(const std::vector<int>& values) {
  std::string result = "(";
  for (const int value : values) result += number(value);
  return result + "t";
}

struct Tensor {
  std::string storage = "FloatStorage";
  std::string member = "0";
  std::string elements = number(4);
  std::string offset = number(0);
  std::string size = numbers({4});
  std::string stride = numbers({1});
  std::string more = "\x89N";  // requires_grad, hooks

  std::string pickled() const {
    return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\n" + storage + "\n" +
           text(member) + text("cpu") + elements + "tQ" + offset + size + stride + more + "tR";
  }
};

std::string dict_of(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string result = "}(";
  for (const auto& [key, value] : items) result += text(key) + value;
  return result + "u";
}

std::string pickle_of(const std::string& body) { return "\x80\x02" + body + "."; }

const std::string four_floats("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40", 16);

class HandMade : public testing::Test {
 protected:
  std::string load_error(const std::string& pickle, test::Members members = {{"data/0", four_floats}}) {
    members.insert(members.begin(), {"data.pkl", pickle});
    const fs::path path = folder_.write("x.pth", test::archive_of(members));
    return data_error([&] { file_ = load_pth(path); });
  }

  std::string tensor_error(const Tensor& tensor, const test::Members& members = {{"data/0", four_floats}}) {
    return load_error(pickle_of(dict_of({{"a", tensor.pickled()}})), members);
  }

  test::TemporaryFolder folder_;
  TensorFile file_;
};

TEST_F(HandMade, GoodOnesAreRead) {
  EXPECT_EQ(tensor_error(Tensor{}), "");
  EXPECT_TRUE(at::equal(file_.tensors[0].second, at::tensor({1.0F, 2.0F, 3.0F, 4.0F})));
  Tensor reversed;
  reversed.size = numbers({2, 2});
  reversed.stride = numbers({1, 2});
  EXPECT_EQ(tensor_error(reversed), "");
  EXPECT_TRUE(at::equal(file_.tensors[0].second, at::tensor({1.0F, 3.0F, 2.0F, 4.0F}).view({2, 2})));
  Tensor overlapping;  // an overlap makes nothing larger
  overlapping.size = numbers({2, 2});
  overlapping.stride = numbers({1, 1});
  EXPECT_EQ(tensor_error(overlapping), "");
  Tensor empty;
  empty.size = numbers({0, 3});
  empty.stride = numbers({3, 1});
  empty.offset = number(4);
  EXPECT_EQ(tensor_error(empty), "");
}

TEST_F(HandMade, RefusesATensorThatItsStorageDoesNotHold) {
  Tensor tensor;
  const auto message = [&] {
    const std::string error = tensor_error(tensor);
    tensor = Tensor();
    EXPECT_THAT(error, HasSubstr("\"a\""));
    return error;
  };
  tensor.size = numbers({5});
  EXPECT_THAT(message(), HasSubstr("beyond its storage"));
  tensor.stride = numbers({2});
  EXPECT_THAT(message(), HasSubstr("beyond its storage"));
  tensor.offset = number(1);
  EXPECT_THAT(message(), HasSubstr("beyond its storage"));
  tensor.offset = number(-1);
  EXPECT_THAT(message(), HasSubstr("beyond its storage"));
  tensor.offset = number(5);
  tensor.size = numbers({0});
  EXPECT_THAT(message(), HasSubstr("beyond its storage"));
  tensor.offset = "\x8a\x08" + std::string(7, '\xff') + "\x7f";
  EXPECT_THAT(message(), HasSubstr("too large"));
  tensor.size = numbers({-4});
  EXPECT_THAT(message(), HasSubstr("negative"));
  tensor.stride = numbers({-1});
  EXPECT_THAT(message(), HasSubstr("negative"));
  tensor.stride = numbers({1, 1});
  EXPECT_THAT(message(), HasSubstr("strides"));
  tensor.size = numbers({2, 2, 2});
  tensor.stride = numbers({1, 1, 0});
  EXPECT_THAT(message(), HasSubstr("more elements"));
  tensor.size = "(\x8a\x08" + std::string(7, '\xff') + "\x7f" + number(4) + "t";
  tensor.stride = numbers({1, 1});
  EXPECT_THAT(message(), HasSubstr("too large"));
  tensor.size = "(Nt";
  EXPECT_THAT(message(), HasSubstr("no number"));
  tensor.size = "N";
  EXPECT_THAT(message(), HasSubstr("no shape"));
  tensor.size = tensor.stride = numbers(std::vector<int>(65, 1));
  EXPECT_THAT(message(), HasSubstr("too many dimensions"));
  tensor.elements = number(3);
  EXPECT_THAT(message(), HasSubstr("16 bytes"));
  tensor.elements = number(-4);
  EXPECT_THAT(message(), HasSubstr("16 bytes"));
  tensor.elements = "N";
  EXPECT_THAT(message(), HasSubstr("unknown form"));
  tensor.storage = "DoubleStorage";
  EXPECT_THAT(message(), HasSubstr("16 bytes"));
  tensor.member = "1";
  EXPECT_THAT(message(), HasSubstr("missing"));
  tensor.member = "../data.pkl";
  EXPECT_THAT(message(), HasSubstr("missing"));
  tensor.more = "\x89N" + dict_of({{"neg", "\x88"}});
  EXPECT_THAT(message(), HasSubstr("negated"));
  tensor.storage = "BoolStorage";
  tensor.elements = number(16);
  EXPECT_THAT(message(), HasSubstr("neither 0 nor 1"));
}

TEST_F(HandMade, RefusesOneStorageOfTwoDtypes) {
  Tensor other;
  other.storage = "IntStorage";
  EXPECT_THAT(load_error(pickle_of(dict_of({{"a", Tensor{}.pickled()}, {"b", other.pickled()}}))),
              HasSubstr("another dtype"));
}

TEST_F(HandMade, RefusesAFalseStateDict) {
  const std::string tensor = Tensor{}.pickled();
  EXPECT_THAT(load_error(pickle_of(dict_of({{"a", tensor}, {"a", tensor}}))), HasSubstr("two tensors \"a\""));
  EXPECT_THAT(load_error(pickle_of("}(" + text("a") + tensor + number(1) + tensor + "u")),
              HasSubstr("no text"));
  EXPECT_THAT(load_error(pickle_of("](" + tensor + "e")), HasSubstr("a list"));
  EXPECT_THAT(load_error(pickle_of(")")), HasSubstr("a tuple"));
  EXPECT_THAT(load_error(pickle_of("N")), HasSubstr("a single value"));
}

TEST_F(HandMade, RefusesAFalsePickle) {
  const std::pair<std::string, const char*> refused[] = {
      {"", "cut off"},
      {"\x80\x02", "cut off"},
      {"\x80\x01N.", "protocol 1"},
      {"\x80\x06N.", "protocol 6"},
      {"(N.", "no pickle"},
      {pickle_of("N") + "x", "goes on after its end"},
      {pickle_of("NN"), "leaves values"},
      {pickle_of("(N"), "leaves values"},
      {pickle_of(""), "not there"},
      {pickle_of("t"), "mark that is not there"},
      {pickle_of("0"), "not there"},
      {pickle_of("N(\x85"), "not there"},  // a tuple that reaches below a mark
      {pickle_of("h\x05"), "never remembered"},
      {pickle_of("q\x05"), "not there"},
      {pickle_of("NNa"), "has none"},
      {pickle_of("]NNs"), "has none"},
      {pickle_of("}(Nu"), "without a value"},
      {pickle_of("N)R"), "no function"},
      {pickle_of("ctorch\nSize\nNR"), "no function"},
      {pickle_of("N}b"), "has none"},
      {pickle_of("NN\x93"), "no text"},
      {pickle_of("cos\nsystem\n"), "asks for \"os.system\""},
      {pickle_of(text("os") + text("system") + "\x93"), "asks for \"os.system\""},
      {pickle_of("cbuiltins\neval\n"), "builtins.eval"},
      {pickle_of("cos\n\x1b[31m\n"), "\\u001b"},
      {pickle_of("cos"), "cut off"},
      {pickle_of("X\xff\xff\xff\xff"), "cut off"},
      {pickle_of("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), "cut off"},
      {pickle_of("i__main__\nX\n"), "opcode"},
      {pickle_of("\x82\x01"), "opcode"},  // an extension by number
      {pickle_of("P1\n"), "opcode"},
  };
  for (const auto& [pickle, message] : refused) {
    const std::string error = load_error(pickle);
    EXPECT_THAT(error, HasSubstr(message)) << testing::PrintToString(pickle);
    EXPECT_EQ(error.find('\x1b'), std::string::npos);
  }
}

// Lists within lists, a list that holds itself, and lists of the list before it.
TEST_F(HandMade, NestingAndCirclesDoNoHarm) {
  const std::string tensor = Tensor{}.pickled();
  EXPECT_EQ(load_error(pickle_of(
                dict_of({{"a", tensor}, {"deep", std::string(1'000'000, ']') + std::string(999'999, 'a')}}))),
            "");
  EXPECT_EQ(load_error(pickle_of("}q\x01(" + text("a") + tensor + text("self") + "h\x01u")), "");
  std::string laughs = text("lol") + "q\x00";
  std::string doubled = "]q\x02(" + text("lol") + std::string(1, 'e');
  for (int i = 0; i < 60; ++i) doubled = "](" + doubled + "q\x03h\x03" + "e";
  EXPECT_EQ(load_error(pickle_of(dict_of({{"a", tensor}, {"laughs", doubled}}))), "");
  EXPECT_THAT(file_.left_out, ElementsAre("laughs"));
}

TEST_F(HandMade, ShortPicklesDoNotBecomeMuch) {
  // A long text that is recalled as a name and as a value, again and again.
  std::string pickle = "}(" + text("a") + Tensor{}.pickled() + "X" + std::string("\0\0\x10\0", 4) +
                       std::string(1 << 20, 'x') + "q\x01" + "N";
  for (int i = 0; i < 100'000; ++i) pickle += "h\x01h\x01";
  EXPECT_EQ(load_error(pickle_of(pickle + "u")), "");
  std::string keys = "}(" + text("a") + Tensor{}.pickled();
  for (int i = 0; i < 5000; ++i) keys += number(i) + number(i);
  EXPECT_EQ(load_error(pickle_of(keys + "u")), "");
  EXPECT_EQ(file_.metadata.size(), 1000U);
  EXPECT_THAT(load_error(pickle_of(std::string(4'000'001, 'N'))), HasSubstr("too many values"));
}

TEST_F(HandMade, RefusesForeignArchives) {
  const std::string good = pickle_of(dict_of({{"a", Tensor{}.pickled()}}));
  EXPECT_EQ(load_error(good, {{"data/0", four_floats}, {"byteorder", "little"}}), "");
  EXPECT_THAT(load_error(good, {{"data/0", four_floats}, {"byteorder", "big"}}), HasSubstr("big-endian"));
  EXPECT_THAT(load_error(good, {{"data/0", four_floats}, {"constants.pkl", "x"}}), HasSubstr("TorchScript"));
  EXPECT_THAT(load_error(good, {{"data/0", four_floats}, {"code/a.py", "x"}}), HasSubstr("TorchScript"));
  const fs::path other = folder_.write("other.zip", test::archive_of({{"document.xml", "<a/>"}}));
  EXPECT_THAT(data_error([&] { load_pth(other); }), HasSubstr("not one that torch.save wrote"));
}

// --- the archive ---

TEST(Zip, RefusesEveryTruncation) {
  const test::TemporaryFolder folder;
  const std::string whole = test::content_of(fixture("one.pth"));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const fs::path path = folder.write("cut.pth", whole.substr(0, size));
    EXPECT_NE(data_error([&] { load_pth(path); }), "") << size;
    fs::remove(path);
  }
}

TEST(Zip, EveryChangedBitIsNoticedOrHarmless) {
  const test::TemporaryFolder folder;
  const std::string whole = test::content_of(fixture("one.pth"));
  int read = 0;
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    const fs::path path = folder.write("flipped.pth", bytes);
    const std::string error = data_error([&] {
      const TensorFile file = load_pth(path);
      EXPECT_TRUE(at::equal(file.tensors.at(0).second, at::tensor({1.0F, 2.0F}))) << bit;
    });
    if (error.empty()) ++read;
    fs::remove(path);
  }
  EXPECT_GT(read, 0);  // padding, times and permissions
  EXPECT_LT(read, static_cast<int>(5 * whole.size()));
}

// The same archive without zip64: what other programs write.
std::string plain_zip(const std::vector<std::pair<std::string, std::string>>& members,
                      std::uint16_t method = 0, std::uint16_t flags = 0, bool overlap = false) {
  const auto little = [](std::uint64_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
    return text;
  };
  std::string file, directory;
  for (const auto& [name, content] : members) {
    const std::size_t at = overlap ? 0 : file.size();
    const std::string sizes =
        little(0, 4) + little(content.size(), 4) + little(content.size(), 4) + little(name.size(), 2);
    if (!overlap || file.empty())
      file += "PK\x03\x04" + little(20, 2) + little(flags, 2) + little(method, 2) + little(0, 4) + sizes +
              little(0, 2) + name + content;
    directory += "PK\x01\x02" + little(20, 2) + little(20, 2) + little(flags, 2) + little(method, 2) +
                 little(0, 4) + sizes + little(0, 2) + little(0, 2) + little(0, 2) + little(0, 2) +
                 little(0, 4) + little(at, 4) + name;
  }
  return file + directory + "PK\x05\x06" + little(0, 4) + little(members.size(), 2) +
         little(members.size(), 2) + little(directory.size(), 4) + little(file.size(), 4) + little(3, 2) +
         "end";
}

TEST(Zip, ArchivesOfOtherPrograms) {
  const test::TemporaryFolder folder;
  const auto open = [&](const std::string& bytes) {
    const fs::path path = folder.write("x.zip", bytes);
    return data_error([&] {
      ZipArchive archive(path);
      for (const auto& member : archive.members()) archive.read(member);
    });
  };
  const std::vector<std::pair<std::string, std::string>> empty = {{"a", ""}, {"b", ""}};
  EXPECT_EQ(open(plain_zip(empty)), "");
  EXPECT_EQ(open(plain_zip({})), "");
  EXPECT_THAT(open(plain_zip({{"a", "x"}})), HasSubstr("checksum"));
  EXPECT_THAT(open(plain_zip(empty, 8)), HasSubstr("compressed"));
  EXPECT_THAT(open(plain_zip(empty, 0, 1)), HasSubstr("encrypted"));
  EXPECT_THAT(open(plain_zip({{"a", ""}, {"a", ""}})), HasSubstr("two members"));
  EXPECT_THAT(open(plain_zip({{"aa", "xx"}, {"aa ", ""}}, 0, 0, true)),
              HasSubstr("not where its directory says"));
  // Two entries of the directory for one member: under two names it cannot be.
  std::string twice = plain_zip({{"ab", "xy"}, {"ab", "xy"}}, 0, 0, true);
  EXPECT_THAT(open(twice), HasSubstr("two members"));
  std::string false_count = plain_zip(empty);
  false_count[false_count.size() - 3 - 12] = 99;
  EXPECT_THAT(open(false_count), HasSubstr("directory"));
  std::string false_size = plain_zip({{"a", ""}});
  false_size[31 + 24] = false_size[31 + 20] = 100;
  EXPECT_THAT(open(false_size), HasSubstr("larger than the file"));
  EXPECT_THAT(open("PK\x03\x04"), HasSubstr("no directory"));
  EXPECT_THAT(open(""), HasSubstr("no directory"));
}

TEST(Zip, MembersThatOverlapAreRefused) {
  const test::TemporaryFolder folder;
  // The first member's data holds a whole second member, header and all.
  std::string inner = plain_zip({{"b", ""}});
  inner.resize(31);
  std::string bytes = plain_zip({{"a", inner}, {"b", ""}});
  const std::size_t second = bytes.rfind("PK\x01\x02");
  bytes[second + 42] = 31;  // the second entry's header: within the first's data
  const fs::path path = folder.write("x.zip", bytes);
  EXPECT_THAT(data_error([&] { ZipArchive archive(path); }), HasSubstr("overlap"));
}

// --- anything at all ---

// Changes valid files at random, always in the same way: whatever comes out, reading succeeds or throws an
// Error.
TEST(Pth, MutatedFilesNeverDoHarm) {
  const test::TemporaryFolder folder;
  const std::string tokens[] = {
      "(",     ")",     "]", "}", "t",
      "R",     "b",     "Q", "u", "e",
      "q\x01", "h\x01", "N", ".", std::string("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", 10),
      "\x95",  "\x81"};
  std::mt19937_64 random(2025);
  int read = 0, refused = 0;
  const auto attempt = [&](const std::string& bytes) {
    const fs::path path = folder.write("mutated.pth", bytes);
    try {
      std::size_t size = 0;
      for (const auto& [name, tensor] : load_pth(path).tensors) size += tensor.nbytes();
      ++read;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
      ++refused;
    }
    fs::remove(path);
  };
  // The pickle alone, in an archive that is in order; then the archive.
  for (const char* name : {"checkpoint.pth", "state_dict.pth", "protocol5.pth"}) {
    ZipArchive archive(fixture(name));
    const std::string file = test::content_of(fixture(name));
    test::Members members;
    for (const auto& member : archive.members()) {
      if (member.name.find("/version") == std::string::npos)
        members.emplace_back(member.name.substr(member.name.find('/') + 1), archive.read(member));
    }
    const std::string pickle = members.at(0).second;
    for (int round = 0; round < 1500; ++round) {
      members[0].second = test::mutated(pickle, random, tokens);
      attempt(test::archive_of(members));
    }
    for (int round = 0; round < 500; ++round) attempt(test::mutated(file, random, tokens));
  }
  EXPECT_GT(read, 100);
  EXPECT_GT(refused, 3000);
}

}  // namespace
}  // namespace mcci
