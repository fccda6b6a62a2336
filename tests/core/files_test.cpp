// Files, hashes and JSON.

#include "mcci/core/files.hpp"

#include <ostream>
#include <signal.h>
#include <stdexcept>
#include <sys/resource.h>
#include <sys/stat.h>

#include "mcci/core/hash.hpp"
#include "mcci/core/json.hpp"
#include "tests/core/support.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;
using test::content_of;
using test::expect_error;
using test::TemporaryFolder;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(ReadFileTest, ReadsEveryByte) {
  const TemporaryFolder folder;
  std::string bytes;
  for (int i = 0; i < 200000; ++i) bytes += static_cast<char>(i * 7);
  EXPECT_EQ(read_file(folder.write("a", bytes), bytes.size()), bytes);
  EXPECT_EQ(read_file(folder.write("b", ""), 0), "");
  EXPECT_GT(read_file("/proc/self/status", 1 << 20).size(), 0u);  // a file that tells no size
}

TEST(ReadFileTest, RefusesMoreThanTheLimit) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::data, {"five: is larger than the limit of 4 bytes"},
               [&] { read_file(folder.write("five", "12345"), 4); });
  expect_error(ErrorKind::data, {"/dev/zero: is larger"}, [] { read_file("/dev/zero", 100000); });

  // A sparse file of 1 TiB: refused by its size, before anything is read or allocated.
  const fs::path huge = folder.write("huge", "");
  fs::resize_file(huge, std::uintmax_t{1} << 40);
  expect_error(ErrorKind::data, {"huge: is larger"}, [&] { read_file(huge, 1 << 20); });
}

TEST(ReadFileTest, TellsWhyAFileCannotBeRead) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::io, {"absent: cannot open (No such file or directory)"},
               [&] { read_file(folder / "absent", 10); });
  expect_error(ErrorKind::io, {"cannot read (Is a directory)"}, [&] { read_file(folder.path(), 10); });
}

TEST(WriteFileAtomicallyTest, CreatesAndReplaces) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string("one"));
  EXPECT_EQ(content_of(folder / "a"), "one");

  std::string large(300000, 'x');
  large[150000] = '\0';
  write_file_atomically(folder / "a", [&](std::ostream& stream) {
    EXPECT_EQ(content_of(folder / "a"), "one");  // the old content, until the new one is complete
    stream << 42 << ' ' << large << std::flush << 'z';
  });
  EXPECT_EQ(content_of(folder / "a"), "42 " + large + "z");
  EXPECT_THAT(folder.names(), ElementsAre("a"));
}

TEST(WriteFileAtomicallyTest, AcceptsANameInTheCurrentFolder) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  write_file_atomically("a", std::string("one"));
  fs::current_path(before);
  EXPECT_EQ(content_of(folder / "a"), "one");
}

TEST(WriteFileAtomicallyTest, KeepsTheOldContentWhenTheWriterThrows) {
  const TemporaryFolder folder;
  folder.write("a", "old");
  const auto failing = [](std::ostream& stream) {
    stream << std::string(100000, 'x');
    throw std::runtime_error("no more");
  };
  EXPECT_THROW(write_file_atomically(folder / "a", failing), std::runtime_error);
  EXPECT_EQ(content_of(folder / "a"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("a"));
}

TEST(WriteFileAtomicallyTest, KeepsTheOldContentWhenTheStreamFails) {
  const TemporaryFolder folder;
  folder.write("a", "old");
  expect_error(ErrorKind::io, {"a: cannot write"}, [&] {
    write_file_atomically(folder / "a", [](std::ostream& stream) { stream.setstate(std::ios::badbit); });
  });
  EXPECT_EQ(content_of(folder / "a"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("a"));
}

// A full disk shows itself as a failing write(2); a limit on the size of files makes one without a full disk.
TEST(WriteFileAtomicallyTest, TellsWhyTheDiskFailed) {
  const TemporaryFolder folder;
  folder.write("a", "old");
  rlimit previous = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &previous), 0);
  rlimit limited = previous;
  limited.rlim_cur = 100000;
  const auto previous_handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
  for (const std::size_t size : {100001, 1000000}) {  // fails at the final flush, and in the midst
    expect_error(ErrorKind::io, {"a: cannot write (File too large)"},
                 [&] { write_file_atomically(folder / "a", std::string(size, 'x')); });
  }
  ::setrlimit(RLIMIT_FSIZE, &previous);
  ::signal(SIGXFSZ, previous_handler);
  EXPECT_EQ(content_of(folder / "a"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("a"));
}

TEST(WriteFileAtomicallyTest, RefusesWhatIsNoRegularFile) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const fs::path& path : {folder / "pipe", folder.path()}) {
    expect_error(ErrorKind::io, {path.string() + ": cannot write", "not a regular file"},
                 [&] { write_file_atomically(path, std::string("x")); });
  }
  EXPECT_THAT(folder.names(), ElementsAre("pipe"));
  expect_error(ErrorKind::io, {"absent/a: cannot write (No such file or directory)"},
               [&] { write_file_atomically(folder / "absent/a", std::string("x")); });
}

TEST(WriteFileAtomicallyTest, PassesOverWhatAKilledProcessLeftBehind) {
  const TemporaryFolder folder;
  std::string name;
  write_file_atomically(folder / "a", [&](std::ostream&) { name = folder.names().front(); });
  const std::size_t dash = name.rfind('-');
  ASSERT_EQ(name.substr(0, dash), ".a.tmp-" + std::to_string(::getpid()));
  const std::string stale = name.substr(0, dash + 1) + std::to_string(std::stoi(name.substr(dash + 1)) + 1);

  folder.write(stale, "stale");
  write_file_atomically(folder / "a", std::string("new"));
  EXPECT_EQ(content_of(folder / "a"), "new");
  EXPECT_EQ(content_of(folder / stale), "stale");
}

TEST(StagedFolderTest, AppearsOnlyOnceCommitted) {
  const TemporaryFolder folder;
  {
    StagedFolder staged(folder / "deep/out/");
    write_file_atomically(staged.path() / "a", std::string("one"));
    EXPECT_FALSE(fs::exists(folder / "deep/out"));
    EXPECT_EQ(staged.path().parent_path(), folder / "deep");
    staged.commit();
    EXPECT_EQ(content_of(folder / "deep/out/a"), "one");
  }
  EXPECT_EQ(content_of(folder / "deep/out/a"), "one");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "deep"), fs::directory_iterator()), 1);
}

TEST(StagedFolderTest, LeavesNothingWithoutCommit) {
  const TemporaryFolder folder;
  {
    StagedFolder staged(folder / "out");
    fs::create_directories(staged.path() / "sub");
    write_file_atomically(staged.path() / "sub/a", std::string("one"));
  }
  EXPECT_THAT(folder.names(), IsEmpty());
}

TEST(StagedFolderTest, TakesOnlyAFreeNameOrAnEmptyFolder) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "empty");
  StagedFolder staged(folder / "empty");
  staged.commit();

  folder.write("file", "x");
  fs::create_symlink(folder / "absent", folder / "link");
  for (const fs::path& taken : {folder.path(), folder / "file", folder / "link"}) {
    expect_error(ErrorKind::usage, {taken.string() + ": exists already", "choose another name"},
                 [&] { StagedFolder again(taken); });
  }
  expect_error(ErrorKind::io, {"cannot create the folder"}, [&] { StagedFolder below(folder / "file/out"); });
  EXPECT_THAT(folder.names(), ElementsAre("empty", "file", "link"));
}

TEST(StagedFolderTest, DoesNotReplaceWhatAppearedMeanwhile) {
  const TemporaryFolder folder;
  {
    StagedFolder staged(folder / "out");
    fs::create_directory(folder / "out");
    folder.write("out/theirs", "x");
    expect_error(ErrorKind::usage, {"out: exists already"}, [&] { staged.commit(); });
  }
  EXPECT_THAT(folder.names(), ElementsAre("out"));
  EXPECT_EQ(content_of(folder / "out/theirs"), "x");
}

// FIPS 180-2, appendix B, and the empty text.
TEST(Sha256Test, KnownVectors) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256Test, FilesHashLikeTheirContent) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0, 1, 65535, 65536, 65537, 200000}) {
    const std::string bytes(size, 'q');
    EXPECT_EQ(sha256_file(folder.write("a", bytes)), sha256(bytes)) << size;
  }
  expect_error(ErrorKind::io, {"absent: cannot open (No such file"}, [&] { sha256_file(folder / "absent"); });
  expect_error(ErrorKind::io, {"cannot read"}, [&] { sha256_file(folder.path()); });
}

TEST(JsonTest, RoundTripKeepsTheOrderOfKeys) {
  const TemporaryFolder folder;
  Json value;
  value["zebra"] = {1, 2.5, nullptr, true};
  value["ant"] = "\xc3\xa4";
  write_json(folder / "a.json", value);
  EXPECT_EQ(content_of(folder / "a.json"), R"({
  "zebra": [
    1,
    2.5,
    null,
    true
  ],
  "ant": "ä"
}
)");
  EXPECT_EQ(read_json(folder / "a.json"), value);
}

TEST(JsonTest, ErrorsNameFileAndPosition) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::io, {"absent.json"}, [&] { read_json(folder / "absent.json"); });
  expect_error(ErrorKind::data, {"larger than the limit of 3"},
               [&] { read_json(folder.write("a", "[1, 2]"), 3); });
  expect_error(ErrorKind::data, {"bad.json: is not valid JSON (parse error at line 2, column 3"},
               [&] { read_json(folder.write("bad.json", "{\n  oops}")); });
  expect_error(ErrorKind::data, {"is not valid JSON"}, [&] { read_json(folder.write("a", "")); });
  expect_error(ErrorKind::data, {"is not valid JSON"}, [&] { read_json(folder.write("a", "\"\xff\"")); });
  expect_error(ErrorKind::data, {"is not valid JSON"}, [&] { read_json(folder.write("a", "1e999")); });
}

TEST(JsonTest, DeepNestingDoesNotExhaustTheStack) {
  const TemporaryFolder folder;
  const std::string deep(1000000, '[');
  expect_error(ErrorKind::data, {"is not valid JSON"}, [&] { read_json(folder.write("open", deep)); });
  EXPECT_TRUE(read_json(folder.write("closed", deep + std::string(deep.size(), ']'))).is_array());
}

TEST(JsonTest, TextThatIsNotUtf8IsRefusedBeforeTheFileIsTouched) {
  const TemporaryFolder folder;
  folder.write("a.json", "old");
  expect_error(ErrorKind::data, {"a.json: cannot be written as JSON", "UTF-8"},
               [&] { write_json(folder / "a.json", Json("\xff")); });
  EXPECT_EQ(content_of(folder / "a.json"), "old");
}

template <class T>
void expect_wrong_type(const Json& value) {
  const Json object = {{"key", value}};
  expect_error(ErrorKind::data,
               {"m.json: the key 'key' has the wrong type (" + std::string(value.type_name()) + ")"},
               [&] { json_at<T>(object, "key", "m.json"); });
}

TEST(JsonAtTest, GivesMembersOfTheRightType) {
  const Json object =
      Json::parse(R"({"i": -3, "u": 18446744073709551615, "d": 2, "b": true, "s": "t", "v": [1, 2]})");
  EXPECT_EQ(json_at<std::int64_t>(object, "i", ""), -3);
  EXPECT_EQ(json_at<int>(object, "d", ""), 2);
  EXPECT_EQ(json_at<std::uint64_t>(object, "u", ""), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(json_at<double>(object, "d", ""), 2.0);
  EXPECT_TRUE(json_at<bool>(object, "b", ""));
  EXPECT_EQ(json_at<std::string>(object, "s", ""), "t");
  EXPECT_THAT(json_at<std::vector<std::uint8_t>>(object, "v", ""), ElementsAre(1, 2));
  EXPECT_EQ(json_at<Json>(object, "v", ""), Json::parse("[1, 2]"));
  EXPECT_EQ(json_at<std::uint8_t>(Json{{"stored signed", std::int64_t{255}}}, "stored signed", ""), 255);
}

TEST(JsonAtTest, RefusesMissingKeysAndLossyTypes) {
  expect_error(ErrorKind::data, {"m.json: the key 'absent' is missing"},
               [] { json_at<int>(Json::object(), "absent", "m.json"); });
  expect_error(ErrorKind::data, {"the key 'x' is missing"}, [] { json_at<int>(Json::array(), "x", ""); });
  expect_wrong_type<int>(1.5);
  expect_wrong_type<int>(true);
  expect_wrong_type<int>("1");
  expect_wrong_type<int>(nullptr);
  expect_wrong_type<int>(std::int64_t{1} << 31);
  expect_wrong_type<std::int64_t>(1e300);
  expect_wrong_type<std::int64_t>(std::uint64_t{1} << 63);
  expect_wrong_type<std::uint64_t>(-1);
  expect_wrong_type<std::uint8_t>(256);
  expect_wrong_type<std::int8_t>(-129);
  expect_wrong_type<bool>(1);
  expect_wrong_type<double>(true);
  expect_wrong_type<double>("nan");
  expect_wrong_type<std::string>(1);
  expect_wrong_type<std::vector<int>>("12");
  expect_wrong_type<std::vector<int>>(Json::parse("[1, 2.5]"));
  expect_wrong_type<std::vector<std::vector<int>>>(Json::parse("[[1], [true]]"));
}

}  // namespace
}  // namespace mcci
