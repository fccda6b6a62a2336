// Reading a result, and turning its cells into rows and text.
#include "mcci/report/summary.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/report/chart.hpp"
#include "mcci/report/comparison.hpp"
#include "mcci/report/comparison_chart.hpp"
#include "mcci/report/format.hpp"
#include "mcci/report/image.hpp"
#include "mcci/report/scatter_chart.hpp"
#include "mcci/report/svg.hpp"
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

TEST(Summary, SeedsForWhichTheAttackDidNotImplantHaveARowOfTheirOwn) {
  std::vector<Cell> cells = {cell("mcci", 0, 90), cell("mcci", 1, 80), cell("mcci", 2, 92)};
  cells[0].implanted = true;
  EXPECT_EQ(summarise(cells).size(), 1u) << "unknown is no failure";
  EXPECT_TRUE(summarise(cells)[0].implanted());
  cells[1].implanted = false;
  const std::vector<Row> rows = summarise(cells);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].seeds(), "0, 2");
  EXPECT_DOUBLE_EQ(*rows[0].measure(&Cell::ca).mean(), 91.0);
  EXPECT_EQ(attack_detail(rows[0]), "");
  EXPECT_FALSE(rows[1].implanted());
  EXPECT_EQ(rows[1].seeds(), "1");
  EXPECT_EQ(attack_detail(rows[1]), "did not implant");
}

TEST(Summary, ACellWithoutAModelStaysInTheRowOfItsNames) {
  std::vector<Cell> cells = {cell("mcci", 0), cell("none", 0, 93), cell("mcci", 1, 90)};
  cells[0].error = "out of memory";
  cells[2].config = {{"epochs", 3}};
  cells[2].classes = {"a"};
  std::vector<Row> rows = summarise(cells);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].first().defense, "mcci") << "its place is that of the failure";
  EXPECT_EQ(rows[0].seeds(), "0, 1");
  EXPECT_EQ(rows[0].errors(), 1u);
  EXPECT_EQ(rows[0].first().seed, 1) << "the first that has a model";
  EXPECT_EQ(rows[0].distinction, "");
  EXPECT_EQ(error_detail(rows[0]), "failed: seed 0");
  EXPECT_EQ(error_detail(rows[1]), "");

  cells[2].error = "too";
  cells[2].config = Json::object();
  rows = summarise(cells);
  EXPECT_EQ(error_detail(rows[0]), "failed: seeds 0, 1");
  EXPECT_FALSE(rows[0].measure(&Cell::ca).deviation());
}

TEST(Summary, ACellThatIsThereTwiceCountsOnce) {
  std::vector<Cell> cells = {cell("mcci", 0), cell("mcci", 0, 90), cell("mcci", 0, 91), cell("mcci", 0, 92)};
  cells[0].id = cells[1].id = cells[2].id = "x";
  cells[0].error = "out of memory";
  const std::vector<Row> rows = summarise(cells);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_THAT(rows[0].measure(&Cell::ca).values, ElementsAre(90.0, 92.0))
      << "of one id the first with a model; cells without an id are never the same";
}

TEST(Summary, TheIntervalIsStudents) {
  EXPECT_NEAR(student_t(1), 12.706, 1e-3);
  EXPECT_NEAR(student_t(2), 4.303, 1e-3);
  EXPECT_NEAR(student_t(30), 2.042, 1e-3);
  EXPECT_NEAR(student_t(31), 2.0395, 1e-4) << "the first that is not in the table";
  EXPECT_NEAR(student_t(120), 1.9799, 1e-4);
  const std::vector<Cell> cells = {cell("mcci", 0, 84), cell("mcci", 1, 85), cell("mcci", 2, 80),
                                   cell("mcci", 3)};
  const Measure ca = summarise(cells)[0].measure(&Cell::ca);
  EXPECT_NEAR(*ca.interval(), 4.3027 * std::sqrt(7.0 / 3), 1e-9);
  EXPECT_EQ(interval_text(ca, 1), "95\u00a0%: ±\u00a06.6");
  EXPECT_FALSE(Measure{{1.0}}.interval());
  EXPECT_EQ(interval_text(Measure{{1.0}}, 1), "");
}

// badnets at 1 % and 10 %, blended at 10 %; defenses none and mcci; two seeds each, and the clean set.
std::vector<Cell> small_grid() {
  std::vector<Cell> cells;
  const auto add = [&](const std::string& attack, double rate, const std::string& defense, double asr) {
    for (const std::int64_t seed : {0, 1}) {
      Cell one = cell(defense, seed, 90);
      one.attack = attack;
      one.rate = rate;
      one.asr = asr + static_cast<double>(seed);
      one.seconds = (defense == "none" ? 100.0 : 150.0) + 10 * static_cast<double>(seed);
      one.implanted = true;
      cells.push_back(one);
    }
  };
  add("none", 0, "none", 0);
  add("badnets", 0.1, "none", 97);
  add("badnets", 0.1, "mcci", 3);
  add("badnets", 0.01, "none", 60);
  add("badnets", 0.01, "mcci", 1);
  add("blended", 0.1, "mcci", 7);
  add("blended", 0.1, "none", 99);
  return cells;
}

TEST(Comparison, OrdersRowsByAttackDefenseAndRate) {
  const std::vector<Cell> cells = small_grid();
  const std::vector<Row> rows = summarise(cells);
  const std::vector<Comparison> comparisons = compare(rows);
  ASSERT_EQ(comparisons.size(), 1u);
  const Comparison& comparison = comparisons[0];
  EXPECT_THAT(comparison.attacks, ElementsAre("badnets", "blended"));
  EXPECT_THAT(comparison.defenses, ElementsAre("none", "mcci"));
  ASSERT_EQ(comparison.grids.size(), 2u);
  EXPECT_EQ(comparison.grids[0].rate, 0.01);
  EXPECT_EQ(comparison.grids[1].rate, 0.1);
  EXPECT_EQ(comparison.at(comparison.grids[0], 1, 0), nullptr);
  EXPECT_DOUBLE_EQ(*comparison.at(comparison.grids[1], 1, 1)->measure(&Cell::asr).mean(), 7.5);
  EXPECT_EQ(comparison.clean[0]->first().attack, "none");
  EXPECT_EQ(comparison.clean[1], nullptr);
  EXPECT_THAT(comparison.undefended, ElementsAre(0u, 0u));
}

TEST(Comparison, TheAverageLeavesOutWhatDidNotImplantOrHasNoModel) {
  std::vector<Cell> cells = small_grid();
  const auto mean = [&](std::size_t defense) {
    const std::vector<Row> rows = summarise(cells);
    const std::vector<Comparison> comparisons = compare(rows);
    return comparisons[0].over_attacks(comparisons[0].grids[1], defense, [](const Cell& c) { return c.asr; });
  };
  EXPECT_DOUBLE_EQ(*mean(1).mean(), 5.5) << "of 3.5 and 7.5";
  EXPECT_EQ(mean(1).defined(), 2);
  for (Cell& one : cells) {
    if (one.attack == "blended") one.implanted = false;
  }
  EXPECT_DOUBLE_EQ(*mean(1).mean(), 3.5);
  EXPECT_EQ(mean(1).defined(), 1);
  for (Cell& one : cells) {
    if (one.attack == "badnets" && one.defense == "mcci") one.error = "failed", one.asr = std::nullopt;
  }
  EXPECT_FALSE(mean(1).mean());
  EXPECT_DOUBLE_EQ(*mean(0).mean(), 97.5);
}

TEST(Comparison, WhereAnAttackImplantedForSomeSeedsThoseStand) {
  std::vector<Cell> cells = small_grid();
  for (Cell& one : cells) {
    if (one.attack == "badnets" && one.seed == 0) one.implanted = false;
  }
  const std::vector<Row> rows = summarise(cells);
  const std::vector<Comparison> comparisons = compare(rows);
  const Row* row = comparisons[0].at(comparisons[0].grids[1], 0, 1);
  EXPECT_TRUE(row->implanted());
  EXPECT_EQ(row->seeds(), "1");
}

TEST(Comparison, PresetsArePartOfANameWhereTheyTellDefensesApart) {
  std::vector<Cell> cells = {cell("none", 0), cell("mcci", 0), cell("mcci", 0), cell("none", 0)};
  cells[0].preset = cells[1].preset = "fast";
  cells[2].preset = cells[3].preset = "robust";
  const std::vector<Row> rows = summarise(cells);
  const Comparison comparison = compare(rows).front();
  EXPECT_THAT(comparison.defenses, ElementsAre("none fast", "mcci fast", "mcci robust", "none robust"));
  EXPECT_THAT(comparison.undefended, ElementsAre(0u, 0u, 3u, 3u)) << "that of the same preset";
  EXPECT_EQ(comparison.series(0), 0u);
  EXPECT_EQ(comparison.series(1), 1u);
  EXPECT_EQ(comparison.series(3), 3u);

  cells.erase(cells.begin() + 3);
  const std::vector<Row> fewer = summarise(cells);
  const Comparison alone = compare(fewer).front();
  EXPECT_EQ(alone.defenses.front(), "none");
  EXPECT_THAT(alone.undefended, ElementsAre(0u, 0u, 0u)) << "the only one there is";
}

TEST(Comparison, NamesWhatWasRunAtEachRate) {
  const std::vector<Cell> cells = small_grid();
  const std::vector<Row> rows = summarise(cells);
  const Comparison comparison = compare(rows).front();
  EXPECT_THAT(comparison.attacks_in(comparison.grids[0]), ElementsAre(0u)) << "blended was run at 10 % only";
  EXPECT_THAT(comparison.attacks_in(comparison.grids[1]), ElementsAre(0u, 1u));
  std::vector<Cell> fewer = small_grid();
  fewer.erase(std::remove_if(fewer.begin(), fewer.end(),
                             [](const Cell& c) { return c.defense == "none" && c.rate == 0.01; }),
              fewer.end());
  const std::vector<Row> fewer_rows = summarise(fewer);
  const Comparison without = compare(fewer_rows).front();
  EXPECT_THAT(without.defenses_in(without.grids[0]), ElementsAre(1u));
  EXPECT_THAT(without.defenses_in(without.grids[1]), ElementsAre(0u, 1u));
}

TEST(Comparison, OptionsArePartOfANameOnlyWhereRowsWouldShareAPlace) {
  std::vector<Cell> cells = {cell("none", 0), cell("none", 0), cell("none", 0)};
  cells[0].attack = "sig";
  cells[1].config["image-size"] = 32;
  cells[2].config["image-size"] = 0;
  std::vector<Row> rows = summarise(cells);
  EXPECT_THAT(compare(rows).front().defenses, ElementsAre("none", "none, image-size 0"));
  EXPECT_NE(compare(rows).front().at(compare(rows).front().grids[0], 1, 0), nullptr);

  cells.erase(cells.begin());
  rows = summarise(cells);
  EXPECT_THAT(compare(rows).front().defenses, ElementsAre("none, image-size 32", "none, image-size 0"));
}

TEST(Comparison, CostsAreMultiplesOfTheUndefendedModelOfTheSameSet) {
  std::vector<Cell> cells = small_grid();
  std::vector<Row> rows = summarise(cells);
  Comparison comparison = compare(rows).front();
  const std::vector<Cost> found = costs(comparison);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].defense, 0u);
  EXPECT_DOUBLE_EQ(*found[0].time.mean(), 1.0);
  EXPECT_EQ(found[1].time.defined(), 6);
  EXPECT_DOUBLE_EQ(*found[1].time.mean(), (150.0 / 100 + 160.0 / 110) / 2);
  EXPECT_DOUBLE_EQ(*found[1].seconds, 155);
  EXPECT_EQ(found[1].memory.defined(), 0);
  EXPECT_EQ(memory_chart(comparison, found), "");
  EXPECT_THAT(time_chart(comparison, found), testing::HasSubstr("mcci 1.48 ×"));

  cells.erase(std::remove_if(cells.begin(), cells.end(), [](const Cell& c) { return c.defense == "none"; }),
              cells.end());
  rows = summarise(cells);
  comparison = compare(rows).front();
  EXPECT_TRUE(costs(comparison).empty()) << "nothing to compare with";
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

TEST(Format, TotalsAreThoseOfImagesThatThereWere) {
  std::vector<Cell> cells = {cell("none", 0), cell("none", 1), cell("none", 2)};
  cells[0].asr_count = {{0, 0}};  // the clean set
  std::vector<Row> rows = summarise(cells);
  EXPECT_EQ(total_text(rows, &Cell::asr_count), "");
  cells[1].asr_count = {{3, 110}};
  EXPECT_EQ(total_text(rows, &Cell::asr_count), "110");
  cells[2].asr_count = {{3, 9000}};
  EXPECT_EQ(total_text(rows, &Cell::asr_count), "110 to 9,000");
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

TEST(Format, TextForLatexAndCsv) {
  EXPECT_EQ(latex("50\u00a0% & a_b#$ {x}~^\\<>\n"),
            "50~\\% \\& a\\_b\\#\\$ \\{x\\}\\textasciitilde{}\\textasciicircum{}\\textbackslash{}"
            "\\textless{}\\textgreater{} ");
  EXPECT_EQ(csv("plain é"), "plain é");
  EXPECT_EQ(csv("a,b"), "\"a,b\"");
  EXPECT_EQ(csv("say \"x\"\r\n"), "\"say \"\"x\"\"  \"");
  EXPECT_EQ(memory_text(812.4), "812\u00a0MiB");
  EXPECT_EQ(memory_text(1331.2), "1.3\u00a0GiB");
  EXPECT_EQ(memory_text(std::nullopt), "–");
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
  EXPECT_THAT(svg::ticks(0, 106, 6), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(svg::ticks(1, 30, 6), ElementsAre(5, 10, 15, 20, 25, 30));
  EXPECT_THAT(svg::ticks(-3, 10, 5), ElementsAre(0, 5, 10));
  EXPECT_THAT(svg::ticks(2, 2, 5), ElementsAre(2));
  // Neighbouring doubles: no step is small enough, and it must not loop for ever.
  EXPECT_LE(svg::ticks(1e20, std::nextafter(1e20, 1e21), 5).size(), 7u);
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
  Embedding heap{"t", "pca", {}, {"clean"}, {{"z", {{1e30, -1e30, 0}, {1e30, -1e30, 0}}}}};
  for (const std::string& chart :
       {loss_chart(summarise(cells)[0]), histogram_chart(flat), scatter_chart(heap, heap.panels[0])}) {
    EXPECT_THAT(chart, testing::Not(testing::HasSubstr("nan")));
    EXPECT_THAT(chart, testing::Not(testing::HasSubstr("inf")));
  }
}

TEST(Chart, RatesStandInOrderAndWhatDidNotImplantIsHollow) {
  std::vector<Cell> cells = small_grid();
  for (Cell& one : cells) {
    if (one.attack == "none") one.asr = std::nullopt;
    if (one.rate == 0.01) one.implanted = false;
  }
  const std::vector<Row> rows = summarise(cells);
  const Comparison comparison = compare(rows).front();
  const auto count = [](const std::string& chart, const std::string& part) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = chart.find(part, at)) != std::string::npos; ++at) ++n;
    return n;
  };
  const std::string asr = rate_chart(comparison, 0, "ASR", &Cell::asr);
  EXPECT_EQ(count(asr, "class=\"line"), 2u);
  EXPECT_EQ(count(asr, "class=\"hollow"), 2u);
  EXPECT_EQ(count(asr, "class=\"spot"), 2u);
  EXPECT_EQ(count(asr, "0\u00a0%</text>"), 1u) << "10 % alone: the clean set has no ASR";
  EXPECT_LT(asr.find(">1\u00a0%<"), asr.find(">10\u00a0%<"));
  EXPECT_THAT(asr, testing::HasSubstr("none 97.5; mcci 3.5;"));
  const std::string ca = rate_chart(comparison, 0, "CA", &Cell::ca);
  EXPECT_THAT(ca, testing::HasSubstr(">0\u00a0%<")) << "the clean set has a CA";
  EXPECT_EQ(count(ca, "class=\"spot"), 3u);
  EXPECT_EQ(count(mean_rate_chart(comparison, "ASR", &Cell::asr), "class=\"hollow"), 0u);
  EXPECT_EQ(rate_chart(comparison, 0, "PA", &Cell::pa), "") << "nothing to draw";
}

TEST(Chart, PoisonedPointsAreCrossesAndPanelsShareAScale) {
  const Embedding embedding{"t",
                            "pca",
                            {},
                            {"poisoned", "clean"},
                            {{"a", {{0, 0, 1}, {10, 10, 0}}}, {"b", {{5, 5, 1}}}, {"c", {}}}};
  const std::string first = scatter_chart(embedding, embedding.panels[0]);
  EXPECT_THAT(first, testing::HasSubstr("class=\"specks clean-0\""));
  EXPECT_THAT(first, testing::HasSubstr("class=\"crosses poisoned-0\""));
  EXPECT_LT(first.find("specks"), first.find("crosses")) << "the few are drawn above the many";
  EXPECT_THAT(first, testing::HasSubstr("a: 1 clean; 1 poisoned;"));
  EXPECT_THAT(first, testing::HasSubstr("M9.0 211.0h0")) << "the lowest left corner";
  EXPECT_THAT(scatter_chart(embedding, embedding.panels[1]), testing::HasSubstr("M110.0 110.0h0"));
  EXPECT_EQ(scatter_chart(embedding, embedding.panels[2]), "");
}

TEST(Result, ReadsWhatGridsAdd) {
  Json json = minimal();
  json["cells"][0].update({{"id", "ab"},
                           {"der", 0.9},
                           {"oracle_asr", 1.5},
                           {"oracle_pa", 88.5},
                           {"peak_memory_mib", 612.5},
                           {"counts", {{"oracle_pa", {{"hits", 7965}, {"total", 9000}}}}}});
  json["figures"]["embeddings"] = Json::parse(R"([{"title": "e", "method": "pca", "explained": [0.4, 0.2],
      "groups": ["clean", "triggered"], "panels": [{"name": "z", "points": [{"x": 1, "y": -2.5, "group": 1}]}]}])");
  const Result result = parse_result(json, "r.json");
  const Cell& cell = result.cells[0];
  EXPECT_EQ(cell.id, "ab");
  EXPECT_EQ(cell.der, 0.9);
  EXPECT_EQ(cell.oracle_asr, 1.5);
  EXPECT_EQ(cell.oracle_pa, 88.5);
  EXPECT_EQ(cell.peak_memory_mib, 612.5);
  EXPECT_EQ(cell.oracle_pa_count->hits, 7965);
  const Embedding& embedding = result.embeddings.at(0);
  EXPECT_THAT(embedding.explained, ElementsAre(0.4, 0.2));
  EXPECT_EQ(embedding.panels.at(0).points.at(0).y, -2.5);
  EXPECT_EQ(embedding.panels.at(0).points.at(0).group, 1u);
}

TEST(Result, ACellWithoutAModelHasNoFigures) {
  Json json = minimal();
  json["cells"][0].update({{"error", "why"}, {"ca", 90}, {"config", {{"epochs", 2}}}, {"implanted", false}});
  const Cell cell = parse_result(json, "r.json").cells[0];
  EXPECT_EQ(cell.error, "why");
  EXPECT_FALSE(cell.ca);
  EXPECT_EQ(cell.implanted, false);
  EXPECT_EQ(cell.config.at("epochs"), 2);
}

TEST(Result, EmbeddingsAreBounded) {
  Json json = minimal();
  Json& embedding = json["figures"]["embeddings"][0];
  embedding = {{"title", "e"}, {"method", "pca"}, {"groups", std::vector<std::string>(65, "g")}};
  expect_error(ErrorKind::data, {"groups", "64"}, [&] { parse_result(json, "r.json"); });
  embedding["groups"] = {"g"};
  embedding["panels"] = std::vector<Json>(17, Json{{"name", "p"}});
  expect_error(ErrorKind::data, {"panels", "16"}, [&] { parse_result(json, "r.json"); });
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
        Breach{"/cells/0/seconds", "-3", "seconds"}, Breach{"/cells/0/der", "90", "der"},
        Breach{"/cells/0/oracle_pa", "101", "oracle_pa"}, Breach{"/cells/0/oracle_asr", "101", "oracle_asr"},
        Breach{"/cells/0/error", "[]", "error"}, Breach{"/cells/0/peak_memory_mib", "-1", "peak_memory_mib"},
        Breach{"/cells/0/id", "1", "id"}, Breach{"/cells/0/implanted", "1", "implanted"},
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
        Breach{"/figures", R"({"embeddings": [{"title": "t", "method": "pca", "groups": ["g"],
               "panels": [{"name": "z", "points": [{"x": 1, "y": 1, "group": 1}]}]}]})",
               "group"},
        Breach{"/figures", R"({"embeddings": [{"title": "t", "method": "pca", "groups": ["g"],
               "panels": [{"name": "z", "points": [{"x": 1, "y": null, "group": 0}]}]}]})",
               "y"},
        Breach{"/figures", R"({"embeddings": [{"title": "t", "method": "pca", "explained": [1]}]})",
               "explained"},
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
