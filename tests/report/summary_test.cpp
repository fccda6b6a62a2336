// Reading a result, and turning its cells into rows and text.
#include "mcci/report/summary.hpp"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/report/chart.hpp"
#include "mcci/report/format.hpp"
#include "mcci/report/image.hpp"
#include "tests/core/support.hpp"

namespace mcci::report {
namespace {

using test::expect_error;
using testing::ElementsAre;
using testing::Pair;

Cell cell(const std::string& defense, std::int64_t seed, std::optional<double> ca = std::nullopt) {
  Cell result;
  result.dataset = "cifar10";
  result.attack = "badnets";
  result.model = "resnet18";
  result.defense = defense;
  result.seed = seed;
  result.ca = ca;
  return result;
}

Json minimal() {
  return Json::parse(R"({"schema": "mcci.result/1", "title": "t",
    "cells": [{"dataset": "d", "attack": "a", "model": "m", "defense": "none", "seed": 0}]})");
}

TEST(Summary, CellsThatDifferOnlyBySeedShareARow) {
  const std::vector<Cell> cells = {cell("mcci", 2, 80), cell("none", 0, 90), cell("mcci", 0, 84),
                                   cell("mcci", 1, 85)};
  const std::vector<Row> rows = summarise(cells);

  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].first().defense, "mcci") << "rows stand in order of first appearance";
  EXPECT_EQ(rows[0].seeds(), "0, 1, 2");
  const Measure ca = rows[0].measure(&Cell::ca);
  EXPECT_THAT(ca.values, ElementsAre(84.0, 85.0, 80.0)) << "in order of seeds";
  EXPECT_DOUBLE_EQ(*ca.mean(), 83.0);
  EXPECT_DOUBLE_EQ(*ca.deviation(), std::sqrt(7.0)) << "(1 + 4 + 9) / (3 - 1)";
  EXPECT_EQ(mean_text(ca, 1), "83.0 ± 2.6");
  EXPECT_EQ(detail_text(rows[0], &Cell::ca, &Cell::ca_count), "84.0, 85.0, 80.0");
}

TEST(Summary, EveryNameAndTheRateSeparateRows) {
  std::vector<Cell> cells(8, cell("mcci", 0));
  cells[1].dataset = "x";
  cells[2].attack = "x";
  cells[3].attack_preset = "x";
  cells[4].model = "x";
  cells[5].defense = "x";
  cells[6].preset = "x";
  cells[7].rate = 0.1;
  EXPECT_EQ(summarise(cells).size(), 8u);
}

TEST(Summary, NamesAreNotGluedTogether) {
  std::vector<Cell> cells = {cell("none", 0), cell("none", 0)};
  cells[0].attack = "a\",\"b";
  cells[1].attack = "a";
  cells[1].attack_preset = "b";
  EXPECT_EQ(summarise(cells).size(), 2u);
}

TEST(Summary, UndefinedFiguresStayOutOfTheMean) {
  const std::vector<Cell> cells = {cell("mcci", 0, 80), cell("mcci", 1), cell("mcci", 2, 90)};
  const Measure ca = summarise(cells)[0].measure(&Cell::ca);
  EXPECT_EQ(ca.defined(), 2);
  EXPECT_DOUBLE_EQ(*ca.mean(), 85.0);
  EXPECT_DOUBLE_EQ(*ca.deviation(), std::sqrt(50.0));
  EXPECT_EQ(detail_text(summarise(cells)[0], &Cell::ca, &Cell::ca_count), "80.0, –, 90.0");

  const Measure none = summarise(cells)[0].measure(&Cell::asr);
  EXPECT_FALSE(none.mean());
  EXPECT_EQ(mean_text(none, 1), "–");
}

TEST(Summary, OneValueHasNoDeviationAndShowsItsCount) {
  std::vector<Cell> cells = {cell("mcci", 0, 84.12)};
  cells[0].ca_count = Count{8412, 10000};
  const Row row = summarise(cells)[0];
  EXPECT_FALSE(row.measure(&Cell::ca).deviation());
  EXPECT_EQ(mean_text(row.measure(&Cell::ca), 1), "84.1");
  EXPECT_EQ(detail_text(row, &Cell::ca, &Cell::ca_count), "8,412/10,000");
}

TEST(Summary, OptionsThatDifferSeparateRowsAndNameThem) {
  std::vector<Cell> cells = {cell("mcci", 0), cell("mcci", 1), cell("mcci", 0)};
  cells[0].config = {{"epochs", 10}, {"seed", 0}, {"data", "a"}, {"out", "x"}, {"lr", 0.1}};
  cells[1].config = {{"lr", 0.1}, {"out", "y"}, {"data", "b"}, {"seed", 1}, {"epochs", 10}};
  cells[2].config = {{"epochs", 20}, {"seed", 0}, {"data", "a"}, {"out", "z"}, {"lr", 0.1}};
  const std::vector<Row> rows = summarise(cells);
  ASSERT_EQ(rows.size(), 2u) << "neither order, seed, data nor out make a difference";
  EXPECT_EQ(rows[0].distinction, "epochs 10");
  EXPECT_EQ(rows[1].distinction, "epochs 20");

  const Options options = compare_options(rows);
  EXPECT_THAT(options.common, ElementsAre(Pair("lr", "0.1")));
  EXPECT_THAT(options.own, ElementsAre(ElementsAre(Pair("epochs", "10")), ElementsAre(Pair("epochs", "20"))));
}

TEST(Summary, RowsOfOtherNamesAreNotDistinguishedByOptions) {
  std::vector<Cell> cells = {cell("mcci", 0), cell("none", 0)};
  cells[0].config = {{"epochs", 10}};
  cells[1].config = {{"epochs", 20}};
  for (const Row& row : summarise(cells)) EXPECT_EQ(row.distinction, "");
}

TEST(Summary, FailuresAreCountedAtTheStatedLimits) {
  Cell one = cell("mcci", 0, 90);
  one.asr = asr_limit;
  one.pa = 90 - pa_gap_limit;
  EXPECT_FALSE(asr_fails(one));
  EXPECT_FALSE(pa_fails(one));
  one.asr = asr_limit + 0.01;
  one.pa = 90 - pa_gap_limit - 0.01;
  EXPECT_TRUE(asr_fails(one));
  EXPECT_TRUE(pa_fails(one));
  one.asr = one.pa = std::nullopt;
  EXPECT_FALSE(asr_fails(one));
  EXPECT_FALSE(pa_fails(one));
}

TEST(Summary, AnAttackThatFailsToImplantForOneSeedIsToldOfTheRow) {
  std::vector<Cell> cells = {cell("mcci", 0), cell("mcci", 1), cell("mcci", 2)};
  cells[0].implanted = true;
  EXPECT_TRUE(summarise(cells)[0].implanted()) << "unknown is no failure";
  cells[1].implanted = false;
  EXPECT_FALSE(summarise(cells)[0].implanted());
  EXPECT_EQ(attack_detail(summarise(cells)[0]), "did not implant");
}

TEST(Format, NumbersAsText) {
  EXPECT_EQ(fixed(84.15, 1), "84.2") << "84.150000000000005684";
  EXPECT_EQ(fixed(-0.04, 1), "0.0");
  EXPECT_EQ(fixed(-0.05001, 1), "-0.1");
  EXPECT_EQ(fixed(std::optional<double>(), 1), "–");
  EXPECT_EQ(with_separators(0), "0");
  EXPECT_EQ(with_separators(999), "999");
  EXPECT_EQ(with_separators(1000), "1,000");
  EXPECT_EQ(with_separators(-1234567), "-1,234,567");
  EXPECT_EQ(with_separators(-123), "-123");
  EXPECT_EQ(share_text(0.1), "10\u00a0%");
  EXPECT_EQ(share_text(0.005), "0.5\u00a0%");
  EXPECT_EQ(seconds_text(185.0), "3 min 05 s");
  EXPECT_EQ(seconds_text(std::nullopt), "–");
}

TEST(Format, TextIsMadeSafeForItsMedium) {
  EXPECT_EQ(html("<a href=\"x\" o='y'>&\x01"), "&lt;a href=&quot;x&quot; o=&#39;y&#39;&gt;&amp;\uFFFD");
  EXPECT_EQ(html("é✓\n"), "é✓\n");
  EXPECT_EQ(markdown("a|b\n<b>*_`[x]&\\"), "a\\|b &lt;b>\\*\\_\\`\\[x\\]&amp;\\\\");
  EXPECT_EQ(plain("\x1b[31mred\x7f\xc2\x9bé±"), "?[31mred??é±") << "U+009B begins a terminal sequence, too";
  EXPECT_EQ(plain("\xc2"), "\xc2");
  EXPECT_EQ(json_text(Json("\xff")), "\xff");
  EXPECT_EQ(json_text(Json::array({"\xff"})), "[\"\uFFFD\"]") << "bytes that are no UTF-8 do not throw";
}

TEST(Format, Base64AsInRfc4648) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xff\xef\xbe"), "/+++");
}

TEST(Chart, TicksAreRoundAndInside) {
  EXPECT_THAT(ticks(0, 106, 6), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(ticks(1, 30, 6), ElementsAre(5, 10, 15, 20, 25, 30));
  EXPECT_THAT(ticks(-3, 10, 5), ElementsAre(0, 5, 10));
  EXPECT_THAT(ticks(2, 2, 5), ElementsAre(2));
  // Neighbouring doubles: no step is small enough, and it must not loop for ever.
  EXPECT_LE(ticks(1e20, std::nextafter(1e20, 1e21), 5).size(), 7u);
}

TEST(Chart, PhasesAreConsecutiveEpochs) {
  std::vector<Epoch> history(5);
  history[0].phase = history[1].phase = history[4].phase = "a";
  history[2].phase = history[3].phase = "b";
  const std::vector<Phase> found = phases(history);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[1].name, "b");
  EXPECT_EQ(found[1].first, 3u);
  EXPECT_EQ(found[1].last, 4u);
  EXPECT_EQ(found[2].first, 5u);
}

TEST(Chart, ALossThatIsNotFiniteBreaksTheLine) {
  std::vector<Cell> cells = {cell("mcci", 0)};
  cells[0].history.resize(4);
  for (const std::size_t i : {0, 1, 3}) cells[0].history[i].loss = 1.0;
  const auto lines_in = [](const std::string& chart) {
    std::size_t lines = 0;
    for (std::size_t at = 0; (at = chart.find("class=\"line loss\"", at)) != std::string::npos; ++at) ++lines;
    return lines;
  };
  EXPECT_EQ(lines_in(loss_chart(summarise(cells)[0])), 2u);
  cells[0].history[2].loss = 1.0;
  EXPECT_EQ(lines_in(loss_chart(summarise(cells)[0])), 1u);
  cells[0].history[2].phase = cells[0].history[3].phase = "second";
  EXPECT_EQ(lines_in(loss_chart(summarise(cells)[0])), 2u) << "each phase has a loss of its own";
}

TEST(Chart, NothingToDrawDrawsNothing) {
  std::vector<Cell> cells = {cell("mcci", 0)};
  EXPECT_EQ(loss_chart(summarise(cells)[0]), "");
  cells[0].history.resize(3);
  EXPECT_EQ(loss_chart(summarise(cells)[0]), "");
  EXPECT_EQ(accuracy_chart(summarise(cells)[0]), "");
}

TEST(Chart, ExtremeNumbersAreDrawnAsNumbers) {
  std::vector<Cell> cells = {cell("mcci", 0)};
  cells[0].history.resize(2);
  cells[0].history[0].loss = 1e30;
  cells[0].history[1].loss = -1e30;
  Histogram flat{"t", "x", {2, 2}, {{"empty", {0}}}};
  for (const std::string& chart : {loss_chart(summarise(cells)[0]), histogram_chart(flat)}) {
    EXPECT_THAT(chart, testing::Not(testing::HasSubstr("nan")));
    EXPECT_THAT(chart, testing::Not(testing::HasSubstr("inf")));
  }
}

TEST(Result, OnlyTheNamesAreNeeded) {
  const Result result = parse_result(minimal(), "r.json");
  ASSERT_EQ(result.cells.size(), 1u);
  EXPECT_EQ(result.cells[0].model, "m");
  EXPECT_FALSE(result.cells[0].ca);
  EXPECT_FALSE(result.cells[0].implanted);
}

TEST(Result, NumbersThatAreNotFiniteAreUndefined) {
  Json json = minimal();
  json["cells"][0]["ca"] = std::numeric_limits<double>::quiet_NaN();
  json["cells"][0]["history"] = {{{"epoch", 1}, {"loss", std::numeric_limits<double>::infinity()}}};
  const Result result = parse_result(json, "r.json");
  EXPECT_FALSE(result.cells[0].ca);
  EXPECT_FALSE(result.cells[0].history[0].loss);
}

TEST(Result, AnotherSchemaIsRefused) {
  Json json = minimal();
  json["schema"] = "mcci.result/2";
  expect_error(ErrorKind::data, {"r.json", "mcci.result/2", "mcci.result/1"},
               [&] { parse_result(json, "r.json"); });
  expect_error(ErrorKind::data, {"r.json", "an object"}, [] { parse_result(Json::array(), "r.json"); });
}

struct Breach {
  const char* pointer;  // where in the minimal result
  const char* value;    // what is put there
  const char* message;  // what the error must name
};

class ResultBreach : public testing::TestWithParam<Breach> {};

TEST_P(ResultBreach, IsRefusedByName) {
  Json json = minimal();
  json[Json::json_pointer(GetParam().pointer)] = Json::parse(GetParam().value);
  expect_error(ErrorKind::data, {"r.json", GetParam().message}, [&] { parse_result(json, "r.json"); });
}

INSTANTIATE_TEST_SUITE_P(
    Result, ResultBreach,
    testing::Values(
        Breach{"/title", "7", "title"}, Breach{"/cells", "{}", "cells"}, Breach{"/cells", "null", "cells"},
        Breach{"/cells/0", "[]", "cells[0]"}, Breach{"/cells/0/seed", "0.5", "seed"},
        Breach{"/cells/0/seed", "-1", "seed"}, Breach{"/cells/0/seed", "18446744073709551615", "seed"},
        Breach{"/cells/0/attack", "null", "attack"}, Breach{"/cells/0/ca", "\"high\"", "ca"},
        Breach{"/cells/0/ca", "100.5", "ca"}, Breach{"/cells/0/asr", "-1", "asr"},
        Breach{"/cells/0/rate", "10", "rate"}, Breach{"/cells/0/auroc", "1.5", "auroc"},
        Breach{"/cells/0/seconds", "-3", "seconds"}, Breach{"/cells/0/implanted", "1", "implanted"},
        Breach{"/cells/0/counts", "[]", "counts"},
        Breach{"/cells/0/counts", R"({"ca": {"hits": 3, "total": 2}})", "hits"},
        Breach{"/cells/0/counts", R"({"ca": {"hits": 3}})", "total"},
        Breach{"/cells/0/per_class_ca", "[50]", "per_class_ca"}, Breach{"/cells/0/classes", "[1]", "classes"},
        Breach{"/cells/0/detection", R"({"flagged": null})", "flagged"},
        Breach{"/cells/0/config", "[]", "config"}, Breach{"/cells/0/config", R"({"deep": {"x": 1}})", "deep"},
        Breach{"/cells/0/config", R"({"deep": [[1]]})", "deep"}, Breach{"/cells/0/history", "{}", "history"},
        Breach{"/cells/0/history", R"([{"loss": "x"}])", "history[0]"},
        Breach{"/environment", R"({"x": [1]})", "x"}, Breach{"/conventions", "[]", "conventions"},
        Breach{"/figures", "[]", "figures"},
        Breach{"/figures", R"({"triggers": [{"attack": "a"}]})", "clean"},
        Breach{"/figures", R"({"examples": [{"image": "a", "true_class": "c",
               "predictions": [{"by": "b", "class": "c", "probability": 2}]}]})",
               "probability"},
        Breach{"/figures", R"({"suspects": [{"image": "a", "label": "l", "suspicion": null}]})", "suspicion"},
        Breach{"/figures", R"({"histograms": [{"title": "t", "edges": [0]}]})", "edges"},
        Breach{"/figures", R"({"histograms": [{"title": "t", "edges": [0, 2, 1]}]})", "edges"},
        Breach{"/figures", R"({"histograms": [{"title": "t", "edges": [0, 1],
               "series": [{"name": "n", "counts": [1, 2]}]}]})",
               "counts"},
        Breach{"/figures", R"({"histograms": [{"title": "t", "edges": [0, 1],
               "series": [{"name": "n", "counts": [0.5]}]}]})",
               "counts"}));

}  // namespace
}  // namespace mcci::report
