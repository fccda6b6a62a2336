#include "mcci/core/options.hpp"

#include <cmath>
#include <limits>

#include "tests/core/support.hpp"

namespace mcci {
namespace {

using test::expect_error;
using test::TemporaryFolder;
using testing::ElementsAre;
using testing::IsEmpty;

class OptionsTest : public testing::Test {
 protected:
  OptionsTest() {
    set.add("flip", flip, "mirror half of the images")
        .add("batch-size", batch_size, "images per step", {1, 65536})
        .add("seed", seed, "any integer")
        .add("rate", rate, "share of the set", {0, 1})
        .add("momentum", momentum, "at least 0", {0})
        .add("preset", preset, "a preset", {"paper", "fast"})
        .add("title", title, "any text")
        .add("tags", tags, "any texts")
        .add("attacks", attacks, "some attacks", {"badnets", "wanet", "sig"});
  }

  void flag(const std::string& name, const std::string& text) {
    set.assign_text(name, text, Origin::command_line, "command line");
  }
  void expect_refused(const std::string& name, const std::string& text, const std::string& message) {
    const Json before = set.to_json();
    expect_error(ErrorKind::usage, {"command line: " + message}, [&] { flag(name, text); });
    EXPECT_EQ(set.to_json(), before);
  }

  bool flip = true;
  std::int64_t batch_size = 128;
  std::int64_t seed = 0;
  double rate = 0.1;
  double momentum = 0.9;
  std::string preset = "paper";
  std::string title;
  std::vector<std::string> tags;
  std::vector<std::string> attacks = {"badnets", "sig"};
  OptionSet set;
};

TEST_F(OptionsTest, EntriesDescribeTheOptions) {
  std::vector<std::string> lines;
  for (const OptionSet::Entry& entry : set.entries()) {
    lines.push_back(entry.name + "|" + entry.constraint + "|" + entry.default_text +
                    (entry.is_flag ? "|flag" : ""));
    EXPECT_EQ(entry.origin, Origin::default_value);
  }
  EXPECT_THAT(lines, ElementsAre("flip||true|flag", "batch-size|1 .. 65536|128", "seed||0", "rate|0 .. 1|0.1",
                                 "momentum|>= 0|0.9", "preset|paper | fast|paper", "title||", "tags||",
                                 "attacks|badnets | wanet | sig|badnets,sig"));
  EXPECT_EQ(set.entries()[1].help, "images per step");
  EXPECT_TRUE(set.contains("rate"));
  EXPECT_FALSE(set.contains("rat"));
}

TEST_F(OptionsTest, UpperBoundsAlone) {
  double x = -1;
  OptionSet other;
  other.add("x", x, "", {std::numeric_limits<double>::lowest(), -0.5});
  EXPECT_EQ(other.entries()[0].constraint, "<= -0.5");
}

TEST_F(OptionsTest, TextIsConvertedToEachType) {
  flag("flip", "false");
  flag("batch-size", "65536");
  flag("seed", "-9223372036854775808");
  flag("rate", "1e-3");
  flag("momentum", "2");
  flag("preset", "fast");
  flag("title", "12");
  flag("tags", "true,2,three");
  flag("attacks", "wanet");
  EXPECT_FALSE(flip);
  EXPECT_EQ(batch_size, 65536);
  EXPECT_EQ(seed, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(rate, 0.001);
  EXPECT_EQ(momentum, 2.0);
  EXPECT_EQ(preset, "fast");
  EXPECT_EQ(title, "12");
  EXPECT_THAT(tags, ElementsAre("true", "2", "three"));
  EXPECT_THAT(attacks, ElementsAre("wanet"));
  flag("attacks", "");
  EXPECT_THAT(attacks, IsEmpty());
}

TEST_F(OptionsTest, ValuesOfTheWrongTypeAreRefused) {
  expect_refused("flip", "1", "the option 'flip' must be true or false, not \"1\"");
  for (const char* text : {"", "x", "1.5", "12x", " 12", "1e3", "99999999999999999999"}) {
    expect_refused("batch-size", text, "the option 'batch-size' must be an integer (1 .. 65536), not \"");
  }
  for (const char* text : {"", "x", "0.1x", "0,1", "nan", "inf", "-inf", "1e999"}) {
    expect_refused("rate", text, "the option 'rate' must be a finite number (0 .. 1), not ");
  }
  expect_refused("tags", "a,,b", "the option 'tags' must be a list of texts, not [\"a\",\"\",\"b\"]");
  expect_refused("seed", "\xff", "the option 'seed' must be an integer, not");  // not even UTF-8
}

TEST_F(OptionsTest, ValuesOutsideTheirBoundsAreRefused) {
  expect_refused("batch-size", "0", "the option 'batch-size' must be an integer (1 .. 65536), not 0");
  expect_refused("batch-size", "65537", "the option 'batch-size' must be an integer (1 .. 65536), not 65537");
  expect_refused("rate", "-0.1", "the option 'rate' must be a finite number (0 .. 1), not -0.1");
  expect_refused("rate", "2", "the option 'rate' must be a finite number (0 .. 1), not 2");
  expect_refused("momentum", "-1", "the option 'momentum' must be a finite number (>= 0), not -1");
  expect_refused("preset", "papr", "the option 'preset' cannot be 'papr'; use paper or fast");
  expect_refused("attacks", "badnets,sgi", "the option 'attacks' cannot be 'sgi'; use sig, ");
}

TEST_F(OptionsTest, UnknownNamesListTheClosest) {
  expect_refused("batchsize", "1", "there is no option 'batchsize'; use batch-size, ");
  expect_error(ErrorKind::usage, {"there is no option 'x'"},
               [] { OptionSet().assign_text("x", "1", Origin::preset, ""); });
}

TEST_F(OptionsTest, ALaterOriginWinsWhateverTheOrder) {
  set.assign_json({{"batch-size", 2}}, Origin::config_file, "c");
  EXPECT_EQ(batch_size, 2);
  set.assign_json({{"batch-size", 1}}, Origin::preset, "p");
  EXPECT_EQ(batch_size, 2);
  flag("batch-size", "3");
  set.assign_json({{"batch-size", 2}, {"rate", 0.5}}, Origin::config_file, "c");
  EXPECT_EQ(batch_size, 3);
  EXPECT_EQ(rate, 0.5);
  EXPECT_EQ(set.entries()[1].origin, Origin::command_line);
  EXPECT_EQ(set.entries()[3].origin, Origin::config_file);
  flag("batch-size", "4");  // of equal origins the last wins
  EXPECT_EQ(batch_size, 4);
}

TEST_F(OptionsTest, AnOverriddenValueIsStillChecked) {
  flag("batch-size", "3");
  expect_error(ErrorKind::usage, {"c: the option 'batch-size'", "not 0"}, [&] {
    set.assign_json({{"batch-size", 0}}, Origin::config_file, "c");
  });
  EXPECT_EQ(batch_size, 3);
}

TEST_F(OptionsTest, JsonRoundTripInOrderOfDeclaration) {
  flag("rate", "0.30000000000000004");
  flag("seed", "9223372036854775807");
  flag("tags", "a,b");
  const Json json = set.to_json();
  EXPECT_EQ(json.dump(),
            R"({"flip":true,"batch-size":128,"seed":9223372036854775807,"rate":0.30000000000000004,)"
            R"("momentum":0.9,"preset":"paper","title":"","tags":["a","b"],"attacks":["badnets","sig"]})");
  seed = 0;
  rate = 0;
  tags = {};
  set.assign_json(Json::parse(json.dump()), Origin::command_line, "run.json");
  EXPECT_EQ(set.to_json(), json);
}

TEST_F(OptionsTest, JsonOfTheWrongTypeIsRefused) {
  const auto refused = [&](const Json& object, const std::string& message) {
    expect_error(ErrorKind::usage, {"run.json: " + message},
                 [&] { set.assign_json(object, Origin::preset, "run.json"); });
  };
  refused(Json::array(), "options must be a JSON object");
  refused({{"seed", 1.0}}, "the option 'seed' must be an integer, not 1.0");
  refused({{"seed", std::uint64_t{1} << 63}},
          "the option 'seed' must be an integer, not 9223372036854775808");
  refused({{"rate", "0.1"}}, "the option 'rate' must be a finite number (0 .. 1), not \"0.1\"");
  refused({{"rate", nullptr}}, "the option 'rate'");
  refused({{"flip", 1}}, "the option 'flip' must be true or false, not 1");
  refused({{"preset", 1}}, "the option 'preset' must be a text (paper | fast), not 1");
  refused({{"tags", "a,b"}}, "the option 'tags' must be a list of texts, not \"a,b\"");
  refused({{"tags", Json::array({1})}}, "the option 'tags' must be a list of texts, not [1]");
  refused({{"absent", 1}}, "there is no option 'absent'");
}

TEST_F(OptionsTest, DeclarationsThatCannotBeRightAreDefects) {
  expect_error(ErrorKind::internal, {"the option 'rate' is declared twice"},
               [&] { set.add("rate", rate, ""); });
  std::int64_t zero = 0;
  expect_error(ErrorKind::internal, {"the default of 'zero'", "(1 .. 5), not 0"}, [&] {
    OptionSet().add("zero", zero, "", {1, 5});
  });
  double infinite = INFINITY;
  expect_error(ErrorKind::internal, {"the default of 'x'"}, [&] { OptionSet().add("x", infinite, ""); });
  expect_error(ErrorKind::internal, {"the default of 'p'"}, [&] {
    OptionSet().add("p", preset, "", {"a", "b"});
  });
  expect_error(ErrorKind::internal, {"the default of 'l'"},
               [&] { OptionSet().add("l", attacks, "", {"sig"}); });
}

class TomlTest : public OptionsTest {
 protected:
  void load(const std::string& text) { set.load_toml(folder_.write("run.toml", text)); }
  void expect_invalid(const std::string& text, const std::string& message) {
    expect_error(ErrorKind::usage, {(folder_ / "run.toml").string() + message}, [&] { load(text); });
  }

  TemporaryFolder folder_;
};

TEST_F(TomlTest, SetsOptionsOfEveryType) {
  flag("seed", "5");
  load(R"(# a comment
flip = false
batch-size = 64
seed = 1
rate = 1        # an integer is a number
momentum = 1e-1
preset = "fast"
tags = ["a", "b"]
)");
  EXPECT_FALSE(flip);
  EXPECT_EQ(batch_size, 64);
  EXPECT_EQ(seed, 5);  // the flag wins
  EXPECT_EQ(rate, 1.0);
  EXPECT_EQ(momentum, 0.1);
  EXPECT_EQ(preset, "fast");
  EXPECT_THAT(tags, ElementsAre("a", "b"));
  EXPECT_EQ(set.entries()[1].origin, Origin::config_file);
}

TEST_F(TomlTest, ErrorsNameFileAndLine) {
  expect_invalid("\nrat = 1\n", ":2: there is no option 'rat'; use rate, ");
  expect_invalid("flip = true\n\nrate = 2.5",
                 ":3: the option 'rate' must be a finite number (0 .. 1), not 2.5");
  expect_invalid("rate = nan", ":1: the option 'rate' must be a finite number");
  expect_invalid("batch-size = 1.0", ":1: the option 'batch-size' must be an integer (1 .. 65536), not 1.0");
  expect_invalid("batch-size = \"1\"", ":1: the option 'batch-size' must be an integer");
  expect_invalid("tags = [[\"a\"]]", ":1: the option 'tags' must be a list of texts");
  expect_invalid("\n[train]\nrate = 1", ":2: there is no option 'train'");
  expect_invalid("[rate]\nx = 1", ":1: a configuration has no tables");
  expect_invalid("rate = 1979-05-27", ":1: a configuration has no tables, dates");
  expect_invalid("rate = 0.5\nrate = 0.6", ":2: ");
  expect_invalid("rate = 0.5\nflip = = true", ":2: ");
  expect_invalid("rate = \xff", ":1: ");
}

TEST_F(TomlTest, UnreadableFilesAreErrors) {
  expect_error(ErrorKind::io, {"absent.toml: cannot open"}, [&] { set.load_toml(folder_ / "absent.toml"); });
  expect_error(ErrorKind::data, {"run.toml: is larger than"}, [&] { load(std::string(2 << 20, '#')); });
  expect_invalid("tags = " + std::string(100000, '['), ":1: ");
}

}  // namespace
}  // namespace mcci
