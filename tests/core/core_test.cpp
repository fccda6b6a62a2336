// Errors, registries, random numbers, log, progress, interruption and version.

#include <array>
#include <cmath>
#include <fcntl.h>
#include <map>
#include <numeric>
#include <set>
#include <signal.h>
#include <stdlib.h>
#include <thread>
#include <unistd.h>

#include "mcci/core/error.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/progress.hpp"
#include "mcci/core/random.hpp"
#include "mcci/core/registry.hpp"
#include "mcci/core/version.hpp"
#include "tests/core/support.hpp"

namespace mcci {
namespace {

using test::content_of;
using test::expect_error;
using test::TemporaryFolder;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

TEST(ErrorTest, TextJoinsThePartsThatAreThere) {
  EXPECT_STREQ(Error(ErrorKind::data, "is torn", "a.png", "fetch it again").what(),
               "a.png: is torn; fetch it again");
  EXPECT_STREQ(Error(ErrorKind::data, "is torn", "a.png").what(), "a.png: is torn");
  EXPECT_STREQ(Error(ErrorKind::data, "is torn", "", "fetch it again").what(), "is torn; fetch it again");
  EXPECT_STREQ(Error(ErrorKind::data, "is torn").what(), "is torn");
}

TEST(ErrorTest, EachKindHasItsExitCode) {
  const auto code = [](ErrorKind kind) { return Error(kind, "x").exit_code(); };
  EXPECT_EQ(code(ErrorKind::usage), 2);
  EXPECT_EQ(code(ErrorKind::data), 3);
  EXPECT_EQ(code(ErrorKind::io), 4);
  EXPECT_EQ(code(ErrorKind::interrupted), 130);
  EXPECT_EQ(code(ErrorKind::internal), 1);
}

TEST(CandidatesTest, ClosestFirstAndJoinedWithOr) {
  EXPECT_EQ(candidates("x", {}), "");
  EXPECT_EQ(candidates("x", {"alone"}), "alone");
  EXPECT_EQ(candidates("wanet", {"badnets", "wanet2", "sig"}),
            "wanet2, badnets or sig");  // distances 1, 4, 5
}

TEST(CandidatesTest, EqualDistancesKeepTheirOrderAndEightAreListed) {
  EXPECT_EQ(candidates("z", {"i", "h", "g", "f", "e", "d", "c", "b", "a"}), "i, h, g, f, e, d, c or b");
}

TEST(RegistryTest, FindsByNameInOrder) {
  const Registry<int> registry("number", {{"one", "the first", 1}, {"two", "the second", 2}});
  EXPECT_EQ(registry.at("two"), 2);
  EXPECT_THAT(registry.names(), ElementsAre("one", "two"));
  expect_error(ErrorKind::usage, {"there is no number 'tow'", "use two or one"}, [&] { registry.at("tow"); });
}

TEST(VersionTest, HasThreeNumbers) { EXPECT_THAT(version(), MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+")); }

// The published outputs of SplitMix64 for the seed 1234567.
TEST(RngTest, IsSplitMix64) {
  Rng rng(1234567);
  EXPECT_EQ(rng.next(), 6457827717110365317u);
  EXPECT_EQ(rng.next(), 3203168211198807973u);
  EXPECT_EQ(rng.next(), 9817491932198370423u);
  EXPECT_EQ(rng.next(), 4593380528125082431u);
  EXPECT_EQ(rng.next(), 16408922859458223821u);
}

// From an independent implementation in Python: runs must stay repeatable from release to release.
TEST(RngTest, DrawsArePinned) {
  Rng uniform(42);
  EXPECT_EQ(uniform.uniform(), 0.7415648787718233);
  EXPECT_EQ(uniform.uniform(), 0.1599103928769201);
  EXPECT_NEAR(Rng(42).normal(), 0.8822489062222688, 1e-14);
  EXPECT_THAT(Rng(7).permutation(8), ElementsAre(7, 4, 2, 6, 3, 5, 1, 0));
  EXPECT_THAT(Rng(7).choose(100, 3), ElementsAre(87, 34, 58));
}

TEST(RngTest, UniformHasTheRightRangeMeanAndVariance) {
  Rng rng(1);
  constexpr int n = 200000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) {
    const double x = rng.uniform(-2, 4);
    ASSERT_GE(x, -2);
    ASSERT_LT(x, 4);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / n, 1, 0.02);  // five standard errors: 5 * sqrt(3 / n)
  EXPECT_NEAR(squares / n - 1, 36.0 / 12, 0.05);
}

TEST(RngTest, UniformNeverReachesItsUpperEnd) {
  Rng rng(2);
  const double high = std::nextafter(1.0, 2.0);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(rng.uniform(1, high), 1.0);
}

TEST(RngTest, BelowIsUniform) {
  Rng rng(3);
  std::array<int, 7> counts = {};
  constexpr int n = 70000;
  for (int i = 0; i < n; ++i) ++counts.at(static_cast<std::size_t>(rng.below(7)));
  double chi_squared = 0;
  for (const int count : counts) chi_squared += std::pow(count - n / 7, 2) / (n / 7);
  EXPECT_LT(chi_squared, 22.5);  // 6 degrees of freedom, p = 0.001
}

TEST(RngTest, BelowHandlesTheEndsOfItsRange) {
  Rng rng(4);
  EXPECT_EQ(rng.below(1), 0);
  // 3 * 2^61 does not divide 2^64: without rejection 9/16 of the numbers would lie in the lower half.
  constexpr std::int64_t large = std::int64_t{3} << 61;
  int upper_half = 0;
  for (int i = 0; i < 10000; ++i) {
    const std::int64_t x = rng.below(large);
    ASSERT_GE(x, 0);
    ASSERT_LT(x, large);
    upper_half += x >= large / 2 ? 1 : 0;
  }
  EXPECT_NEAR(upper_half, 5000, 250);  // five standard deviations
  expect_error(ErrorKind::internal, {"above 0"}, [&] { rng.below(0); });
  expect_error(ErrorKind::internal, {"above 0"}, [&] { rng.below(-3); });
}

TEST(RngTest, NormalHasTheRightMoments) {
  Rng rng(5);
  constexpr int n = 200000;
  double sum = 0, squares = 0, fourths = 0;
  for (int i = 0; i < n; ++i) {
    const double x = rng.normal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourths += x * x * x * x;
  }
  EXPECT_NEAR(sum / n, 0, 0.012);
  EXPECT_NEAR(squares / n, 1, 0.016);
  EXPECT_NEAR(fourths / n, 3, 0.11);
}

TEST(RngTest, ChanceMeetsItsProbability) {
  Rng rng(6);
  int hits = 0;
  for (int i = 0; i < 100000; ++i) {
    hits += rng.chance(0.1) ? 1 : 0;
    ASSERT_FALSE(rng.chance(0));
    ASSERT_TRUE(rng.chance(1));
  }
  EXPECT_NEAR(hits, 10000, 475);
}

TEST(RngTest, PermutationHoldsEachNumberOnce) {
  for (const std::int64_t n : {0, 1, 2, 17, 1000}) {
    std::vector<std::int64_t> order = Rng(8).permutation(n);
    std::sort(order.begin(), order.end());
    std::vector<std::int64_t> expected(static_cast<std::size_t>(n));
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(order, expected);
  }
}

TEST(RngTest, EveryOrderOfThreeIsEquallyLikely) {
  Rng rng(9);
  std::map<std::vector<std::int64_t>, int> counts;
  for (int i = 0; i < 6000; ++i) ++counts[rng.permutation(3)];
  EXPECT_EQ(counts.size(), 6u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 145);  // five standard deviations
}

TEST(RngTest, ChooseTakesDistinctNumbersUniformly) {
  Rng rng(10);
  std::array<int, 10> counts = {};
  for (int i = 0; i < 10000; ++i) {
    const std::vector<std::int64_t> chosen = rng.choose(10, 3);
    ASSERT_EQ(std::set<std::int64_t>(chosen.begin(), chosen.end()).size(), 3u);
    for (const std::int64_t x : chosen) ++counts.at(static_cast<std::size_t>(x));
  }
  for (const int count : counts) EXPECT_NEAR(count, 3000, 230);
  EXPECT_TRUE(rng.choose(5, 0).empty());
  expect_error(ErrorKind::internal, {"0 <= k <= n"}, [&] { rng.choose(3, 4); });
  expect_error(ErrorKind::internal, {"0 <= k <= n"}, [&] { rng.choose(3, -1); });
  expect_error(ErrorKind::internal, {"0 <= k <= n"}, [&] { rng.permutation(-1); });
}

// From an independent implementation in Python.
TEST(DeriveSeedTest, ValuesArePinned) {
  EXPECT_EQ(derive_seed(0, ""), 0xaebe53f85cdc3c4cu);
  EXPECT_EQ(derive_seed(0, "shuffle"), 0x9e5d9289904de21bu);
  EXPECT_EQ(derive_seed(1, "shuffle"), 0x8dbe18a700e34641u);
  EXPECT_EQ(derive_seed(1, "shuffle", {0}), 0xf6ea9daa047eb75eu);
  EXPECT_EQ(derive_seed(1, "augment", {3, 5}), 0x84ccc4ba0fa0efdcu);
}

TEST(DeriveSeedTest, DiffersBySeedPurposeCountersAndTheirOrder) {
  std::set<std::uint64_t> seeds;
  std::size_t made = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    for (const char* purpose : {"", "shuffle", "augment", "shufflf"}) {
      seeds.insert(derive_seed(seed, purpose));
      ++made;
      for (std::uint64_t a = 0; a < 10; ++a) {
        seeds.insert(derive_seed(seed, purpose, {a}));
        ++made;
        for (std::uint64_t b = 0; b < 10; ++b, ++made) seeds.insert(derive_seed(seed, purpose, {a, b}));
      }
    }
  }
  EXPECT_EQ(seeds.size(), made);
}

TEST(DeriveSeedTest, NeighbouringCountersGiveUnrelatedStreams) {
  // Each bit of the result flips with probability 1/2 when a counter grows by one.
  int flipped = 0;
  constexpr int pairs = 2000;
  for (std::uint64_t i = 0; i < pairs; ++i) {
    std::uint64_t difference = derive_seed(1, "x", {i}) ^ derive_seed(1, "x", {i + 1});
    for (; difference != 0; difference &= difference - 1) ++flipped;
  }
  EXPECT_NEAR(flipped, pairs * 32, 900);  // five standard deviations
}

// Restores the log's global state, so that the tests do not depend on each other.
class LogTest : public testing::Test {
 protected:
  ~LogTest() override {
    set_quiet(false);
    set_log_file("");
  }

  template <class Statement>
  static std::string stderr_of(const Statement& statement) {
    testing::internal::CaptureStderr();
    statement();
    return testing::internal::GetCapturedStderr();
  }

  TemporaryFolder folder_;
};

TEST_F(LogTest, WritesLinesToStandardErrorAndToTheFileWithATime) {
  folder_.write("run.log", "earlier\n");
  set_log_file(folder_ / "run.log");
  EXPECT_EQ(stderr_of([] {
              log_info("one");
              log_warning("two");
            }),
            "one\nwarning: two\n");
  set_log_file("");
  stderr_of([] { log_info("after closing"); });

  const std::string stamp = "[0-9-]+T[0-9:]+Z ";
  EXPECT_THAT(content_of(folder_ / "run.log"),
              MatchesRegex("earlier\n" + stamp + "one\n" + stamp + "warning: two\n"));
}

TEST_F(LogTest, QuietSilencesOnlyInformationOnStandardError) {
  set_log_file(folder_ / "run.log");
  set_quiet(true);
  EXPECT_TRUE(quiet());
  EXPECT_EQ(stderr_of([] {
              log_info("one");
              log_warning("two");
            }),
            "warning: two\n");
  EXPECT_THAT(content_of(folder_ / "run.log"), HasSubstr("Z one\n"));
}

TEST_F(LogTest, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(stderr_of([] { log_info("a\nb\033[31mc\x7f\xc3\xa4"); }), "a?b?[31mc?\xc3\xa4\n");
}

TEST_F(LogTest, ALogFileThatCannotBeOpenedIsAnError) {
  expect_error(ErrorKind::io, {"cannot open the log file", "No such file", "absent/run.log"},
               [&] { set_log_file(folder_ / "absent/run.log"); });
}

TEST_F(LogTest, LinesOfSeveralThreadsStayWhole) {
  const std::string text = stderr_of([] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([] {
        for (int i = 0; i < 50; ++i) log_info("0123456789");
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  std::string expected;
  for (int i = 0; i < 200; ++i) expected += "0123456789\n";
  EXPECT_EQ(text, expected);
}

using ProgressTest = LogTest;

TEST_F(ProgressTest, WritesPlainLinesWhereThereIsNoTerminal) {
  const std::string text = stderr_of([] {
    Progress progress("train", 10, "images", std::chrono::seconds(0));
    progress.set_note("loss 0.5");
    progress.advance(4);
    progress.advance(6);
  });
  EXPECT_THAT(text, HasSubstr("train: 4/10 images (40%), "));
  EXPECT_THAT(text, HasSubstr(" images/s, ETA "));
  EXPECT_THAT(text, HasSubstr("train: 10/10 images (100%), "));
  EXPECT_THAT(text, EndsWith("images/s, took 0 s, loss 0.5\n"));
  EXPECT_THAT(text, Not(HasSubstr("\033")));
}

TEST_F(ProgressTest, IsSilentBetweenTheIntervalsAndFinishesOnce) {
  const std::string text = stderr_of([] {
    Progress progress("train", 0, "steps", std::chrono::hours(1));
    for (int i = 0; i < 1000; ++i) progress.advance();
    progress.finish();
    progress.finish();
  });
  EXPECT_THAT(text, MatchesRegex("train: 1000 steps, [0-9.]+ steps/s, took 0 s\n"));
}

TEST_F(ProgressTest, AResumedStartDoesNotEnterTheRate) {
  const std::string text = stderr_of([] {
    Progress progress("train", 100, "images");
    progress.start_at(100);
  });
  EXPECT_THAT(text, HasSubstr("train: 100/100 images (100%), 0.000 images/s"));
}

TEST_F(ProgressTest, QuietWritesToTheLogFileAlone) {
  set_log_file(folder_ / "run.log");
  set_quiet(true);
  EXPECT_EQ(stderr_of([] { Progress("train", 3, "images").advance(3); }), "");
  EXPECT_THAT(content_of(folder_ / "run.log"), HasSubstr("train: 3/3 images"));
}

// Runs `statement` with a pseudo-terminal as standard error; returns what it was sent.
template <class Statement>
std::string terminal_output_of(const Statement& statement) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  EXPECT_TRUE(master >= 0 && ::grantpt(master) == 0 && ::unlockpt(master) == 0);
  const int slave = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  EXPECT_GE(slave, 0);
  const int saved = ::dup(STDERR_FILENO);
  ::dup2(slave, STDERR_FILENO);
  statement();
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  ::close(slave);

  std::string text;
  char chunk[256];
  for (ssize_t count = 0; (count = ::read(master, chunk, sizeof(chunk))) > 0;) {
    text.append(chunk, static_cast<std::size_t>(count));
  }
  ::close(master);
  return text;
}

TEST_F(ProgressTest, RedrawsABarOnATerminal) {
  const std::string text = terminal_output_of([] {
    Progress progress("train", 10, "images");
    progress.set_note(std::string(200, 'x'));
    progress.advance(5);
    log_info("a line of the log");
    std::this_thread::sleep_for(std::chrono::milliseconds(101));  // drawing is limited to ten times a second
    progress.advance(0);
  });
  EXPECT_THAT(
      text,
      HasSubstr("\r\033[Ka line of the log\r\n\r\033[Ktrain [############............] 5/10 images (50%)"));
  EXPECT_THAT(text, EndsWith("xx\r\n"));
  // Two lines of 79 characters: what does not fit into 80 columns is cut.
  EXPECT_EQ(text.size(), std::string("\r\033[Ka line of the log\r\n").size() + 2 * (79 + 4) + 2);
}

TEST(FormatDurationTest, HandComputed) {
  EXPECT_EQ(format_duration(0), "0 s");
  EXPECT_EQ(format_duration(59.4), "59 s");
  EXPECT_EQ(format_duration(59.6), "1 min 00 s");
  EXPECT_EQ(format_duration(185), "3 min 05 s");
  EXPECT_EQ(format_duration(3599.9), "1 h 00 min");
  EXPECT_EQ(format_duration(3720), "1 h 02 min");
  EXPECT_EQ(format_duration(100 * 3600), "100 h 00 min");
  EXPECT_EQ(format_duration(-1), "unknown");
  EXPECT_EQ(format_duration(std::nan("")), "unknown");
  EXPECT_EQ(format_duration(INFINITY), "unknown");
}

class InterruptTest : public testing::Test {
 protected:
  ~InterruptTest() override {
    set_interrupt_requested(false);
    ::signal(SIGINT, SIG_DFL);
    ::signal(SIGTERM, SIG_DFL);
  }
};

TEST_F(InterruptTest, TheFirstSignalOnlySetsTheFlag) {
  install_interrupt_handler();
  for (const int signal : {SIGINT, SIGTERM}) {
    set_interrupt_requested(false);
    EXPECT_FALSE(interrupt_requested());
    ::raise(signal);
    EXPECT_TRUE(interrupt_requested());
  }
}

TEST_F(InterruptTest, ASecondOneEndsTheProcess) {
  EXPECT_EXIT(
      {
        install_interrupt_handler();
        ::raise(SIGINT);
        ::raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace mcci
