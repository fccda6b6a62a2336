// The page, the tables, and what a hostile result.json may try.
#include "mcci/report/report.hpp"

#include <filesystem>
#include <sstream>
#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/report/image.hpp"
#include "tests/core/support.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const fs::path fixture = fs::path(MCCI_FIXTURES) / "report";

Json sample() { return read_json(fixture / "result.json"); }

Json grid() { return read_json(fixture / "grid.json"); }

Json without_figures(Json result) {
  result.erase("figures");
  return result;
}

// A result of one cell, with the members of `cell` on top.
Json single(const Json& cell = Json::object()) {
  Json result = Json::parse(R"({"schema": "mcci.result/1", "title": "One run",
    "cells": [{"dataset": "cifar10", "attack": "badnets", "model": "resnet18", "defense": "mcci", "seed": 0}]})");
  result["cells"][0].update(cell);
  return result;
}

std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

// The signature and IHDR of a PNG; the page's writer looks no further.
std::string png_header(unsigned width, unsigned height) {
  const auto big_endian = [](unsigned value) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
    return bytes;
  };
  return std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16) + big_endian(width) + big_endian(height) + "rest";
}

TEST(Page, HoldsEveryPartOfTheSample) {
  const std::string page = render_html(sample(), fixture);
  for (const char* part :
       {"<h2>Results</h2>", "<h2>Poisoned training images found</h2>", "<h2>What the trigger looks like</h2>",
        "<h2>What the models say</h2>", "<h2>Suspicion of training images</h2>",
        "<h2>Most suspicious training images</h2>", "<h2>Training</h2>", "Single runs", "Accuracy by class",
        "Configuration", "Environment", "Command"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  EXPECT_EQ(occurrences(page, "<img"), 9u);
  EXPECT_EQ(occurrences(page, "src=\"data:image/png;base64,"), 9u);
  EXPECT_EQ(occurrences(page, "class=\"pixels\""), 9u);
  EXPECT_EQ(occurrences(page, "<svg class=\"chart\""), 11u) << "two a row, two histograms and the time";
  EXPECT_LT(page.size(), 300u << 10);
}

TEST(Page, IsDeterministic) { EXPECT_EQ(render_html(sample(), fixture), render_html(sample(), fixture)); }

TEST(Page, EscapesEveryTextOfTheResult) {
  // Every string of the samples but the schema and the figures' files gets markup in it.
  const std::function<void(Json&, const std::string&)> poison = [&](Json& node, const std::string& key) {
    const bool is_file = key == "image" || key == "clean" || key == "triggered" || key == "difference" ||
                         key == "spectrum_difference";
    if (node.is_string() && key != "schema" && !is_file) {
      node = node.get<std::string>() + "<script x=\"'>&";
    } else if (node.is_object()) {
      for (const auto& item : node.items()) poison(item.value(), item.key());
    } else if (node.is_array()) {
      for (Json& element : node) poison(element, key);
    }
  };
  for (Json json : {sample(), grid()}) {
    poison(json, "");
    const std::string page = render_html(json, fixture);
    EXPECT_EQ(occurrences(page, "<script x"), 0u);
    EXPECT_EQ(occurrences(page, "<script"), 1u) << "the page's own";
    EXPECT_GT(occurrences(page, "&lt;script x=&quot;&#39;&gt;&amp;"), 100u);
  }
}

TEST(Page, NamesOfOptionsAndEnvironmentAreEscapedToo) {
  Json json = single({{"config", {{"<i>option", 1}}}});
  json["environment"] = {{"<i>cpu", "x"}};
  EXPECT_THAT(render_html(json, "."),
              AllOf(Not(HasSubstr("<i>")), HasSubstr("&lt;i&gt;option"), HasSubstr("&lt;i&gt;cpu")));
}

TEST(Page, UndefinedFiguresAreDashesNotZeros) {
  const std::string page = render_html(single({{"ca", 84.12}}), ".");
  EXPECT_THAT(page, HasSubstr("data-label=\"CA %\" data-value=\"84.120000\">84.1<"));
  EXPECT_THAT(page, HasSubstr("data-label=\"ASR %\" data-value=\"\">–<"));
  EXPECT_THAT(page, HasSubstr("data-label=\"PA %\" data-value=\"\">–<"));
}

TEST(Page, MarksFailuresAndLeavesThemIn) {
  const std::string good = render_html(single({{"ca", 90}, {"asr", 2}, {"pa", 88}}), ".");
  EXPECT_THAT(good, Not(HasSubstr(" fails\"")));
  const std::string bad = render_html(single({{"ca", 90}, {"asr", 99.5}, {"pa", 0.5}}), ".");
  EXPECT_EQ(occurrences(bad, " fails\""), 2u);
  EXPECT_THAT(bad, AllOf(HasSubstr("ASR too high"), HasSubstr("PA far below CA"), HasSubstr(">99.5<")));
}

TEST(Page, ARunWithoutTruthShowsItsTraining) {
  const std::string page = render_html(
      single({{"attack", "unknown"}, {"history", {{{"epoch", 1}, {"phase", "p"}, {"loss", 0.5}}}}}), ".");
  EXPECT_THAT(page, AllOf(Not(HasSubstr("<h2>Results")), HasSubstr("<h2>Training"), HasSubstr("0.500")));
}

TEST(Page, OfAGridComparesAttacksAndDefenses) {
  const std::string page = render_html(grid(), fixture);
  for (const char* part :
       {"<h2>Attacks and defenses</h2>", "<h2>Trainings that failed</h2>",
        "<h2>Robustness over the poison rate</h2>", "<h2>Cost</h2>", "<h2>Embeddings</h2>"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  EXPECT_THAT(page,
              HasSubstr("57 trained models · 3 failed · cifar10 · resnet18-w16 · 3 attacks · 3 defenses"));
  EXPECT_EQ(occurrences(page, "<table class=\"heat "), 9u) << "three figures at three rates";
  EXPECT_EQ(occurrences(page, " hatched"), 9u + 1) << "sig at 1 %: heat maps only; once in the style sheet";
  EXPECT_EQ(occurrences(page, "training: the loss is not finite in epoch 3; lower --lr &lt;b&gt;</td>"), 3u);
  EXPECT_THAT(page, HasSubstr("✕ failed: seeds 1, 2"));
  EXPECT_THAT(page, HasSubstr(", of 9,000 images"));
}

TEST(Page, OfOneTrainingComparesNothing) {
  const std::string page = render_html(single({{"ca", 90}, {"asr", 2}, {"seconds", 10}, {"rate", 0.1}}), ".");
  EXPECT_THAT(page, AllOf(Not(HasSubstr("<h2>Attacks and")), Not(HasSubstr("<h2>Robustness")),
                          Not(HasSubstr("<h2>Cost")), Not(HasSubstr("95\u00a0%"))));
}

TEST(Page, AFailureIsShownEvenIfNothingElseIs) {
  const std::string page = render_html(single({{"error", "no <memory>"}}), ".");
  EXPECT_THAT(page, AllOf(HasSubstr("<h2>Trainings that failed"), HasSubstr("no &lt;memory&gt;")));
  const std::string nameless =
      render_html(single({{"error", "no memory"}, {"model", ""}, {"defense", ""}}), ".");
  EXPECT_THAT(nameless, HasSubstr("0 trained models · 1 failed · cifar10 · badnets</p>"));
}

TEST(Page, AnEmptyResultIsAPageToo) {
  Json json = single();
  json["cells"] = Json::array();
  EXPECT_THAT(render_html(json, "."), AllOf(HasSubstr("<h1>One run</h1>"), Not(HasSubstr("<h2>"))));
  EXPECT_EQ(render_text_table(json), "One run\n");
  EXPECT_EQ(render_markdown_table({json}), "No results.\n");
}

TEST(Page, ManyClassesAreCutToTheLeastAccurate) {
  std::vector<std::string> classes;
  std::vector<double> accuracies;
  for (int c = 0; c < 30; ++c) {
    classes.push_back("class" + std::to_string(c) + "!");
    accuracies.push_back(c == 17 ? 1 : 50 + c);
  }
  const std::string page = render_html(single({{"classes", classes}, {"per_class_ca", accuracies}}), ".");
  EXPECT_THAT(page, AllOf(HasSubstr("The 12 least accurate of 30 classes"), HasSubstr("class17!"),
                          HasSubstr("class10!"), Not(HasSubstr("class11!"))));
}

TEST(Page, IsWrittenBesideItsFigures) {
  const TemporaryFolder folder;
  write_report(fixture / "result.json", folder / "page.html");
  EXPECT_EQ(test::content_of(folder / "page.html"), render_html(sample(), fixture));
  EXPECT_THAT(folder.names(), testing::ElementsAre("page.html")) << "no temporary file is left";
}

TEST(Page, UnreadableResultsAreToldByTheirFile) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::io, {"none.json"}, [&] { write_report(folder / "none.json", folder / "p.html"); });
  folder.write("bad.json", "{");
  expect_error(ErrorKind::data, {"bad.json"}, [&] { write_report(folder / "bad.json", folder / "p.html"); });
  folder.write("other.json", R"({"schema": "other/1"})");
  expect_error(ErrorKind::data, {"other.json", "other/1"},
               [&] { write_report(folder / "other.json", folder / "p.html"); });
  EXPECT_FALSE(fs::exists(folder / "p.html"));
}

class Figures : public testing::Test {
 protected:
  Figures() {
    fs::create_directories(folder_ / "base/figures");
    folder_.write("secret.png", png_header(8, 8));
    folder_.write("base/figures/good.png", png_header(8, 8));
  }

  // The page of a result with this one figure.
  std::string page(const std::string& path) const {
    Json json = single();
    json["figures"]["suspects"] = {{{"image", path}, {"label", "cat"}, {"suspicion", 1.0}}};
    return render_html(json, folder_ / "base");
  }
  void expect_refused(const std::string& path, const std::string& reason) const {
    expect_error(ErrorKind::data, {reason}, [&] { page(path); });
  }

  TemporaryFolder folder_;
};

TEST_F(Figures, AreEmbedded) {
  EXPECT_THAT(page("figures/good.png"), HasSubstr(report::base64(png_header(8, 8))));
  EXPECT_THAT(page("figures/./good.png"), HasSubstr("width=\"8\" height=\"8\""));
}

TEST_F(Figures, LargeOnesAreNotPixelated) {
  folder_.write("base/large.png", png_header(224, 100));
  EXPECT_THAT(page("large.png"),
              AllOf(HasSubstr("<img width=\"224\" height=\"100\""), Not(HasSubstr("\"pixels\""))));
}

TEST_F(Figures, MayNotLeaveTheFolder) {
  expect_refused("../secret.png", "leaves the folder");
  expect_refused("figures/../../secret.png", "leaves the folder");
  expect_refused("figures/../figures/good.png", "leaves the folder");
  expect_refused((folder_ / "secret.png").string(), "absolute");
  expect_refused("", "no name");
  expect_refused(std::string("figures/good.png\0", 17), "good.png?");
}

TEST_F(Figures, MayNotLeaveTheFolderByALink) {
  fs::create_symlink(folder_ / "secret.png", folder_ / "base/link.png");
  fs::create_directory_symlink(folder_.path(), folder_ / "base/up");
  expect_refused("link.png", "link out of the folder");
  expect_refused("up/secret.png", "link out of the folder");
  // A folder whose name begins like the base folder's is another folder.
  fs::create_directories(folder_ / "base2");
  folder_.write("base2/a.png", png_header(8, 8));
  fs::create_symlink(folder_ / "base2/a.png", folder_ / "base/near.png");
  expect_refused("near.png", "link out of the folder");
  // Within the folder a link is as good as a file.
  fs::create_symlink("figures/good.png", folder_ / "base/inside.png");
  EXPECT_THAT(page("inside.png"), HasSubstr("<img"));
}

TEST_F(Figures, MustBePngFilesOfModestSize) {
  folder_.write("base/page.png", "<svg onload=alert(1)>");
  folder_.write("base/short.png", png_header(8, 8).substr(0, 20));
  folder_.write("base/flat.png", png_header(8, 0));
  folder_.write("base/vast.png", png_header(8, 100000));
  folder_.write("base/heavy.png", png_header(8, 8) + std::string(report::ImageFolder::max_image_bytes, 'x'));
  expect_refused("page.png", "no PNG");
  expect_refused("short.png", "no PNG");
  expect_refused("flat.png", "8x0");
  expect_refused("vast.png", "8x100000");
  expect_refused("heavy.png", "heavy.png");
  expect_refused("figures", "not a file");
  ASSERT_EQ(::mkfifo((folder_ / "base/pipe.png").c_str(), 0600), 0);
  expect_refused("pipe.png", "not a file");
  expect_error(ErrorKind::io, {"missing.png"}, [&] { page("missing.png"); });
}

TEST_F(Figures, AreLimitedInAll) {
  folder_.write("base/big.png", png_header(8, 8) + std::string((3 << 20), 'x'));
  report::ImageFolder images(folder_ / "base");
  expect_error(ErrorKind::data, {"too large", "64 MiB"}, [&] {
    for (int i = 0; i < 22; ++i) images.load("big.png");
  });
}

TEST_F(Figures, OnlyTheMostSuspiciousAreShown) {
  Json json = single();
  for (int i = 0; i < 61; ++i) {
    json["figures"]["suspects"].push_back(
        {{"image", i < 60 ? "figures/good.png" : "missing.png"}, {"label", "cat"}, {"suspicion", 1.0}});
  }
  const std::string page = render_html(json, folder_ / "base");
  EXPECT_EQ(occurrences(page, "<img"), 60u);
  EXPECT_THAT(page, HasSubstr("The first 60 of 61 images."));
}

TEST(Markdown, OneTableOverAllResults) {
  Json first = single({{"ca", 90.04}, {"asr", 12.0}, {"pa", 60.0}, {"seconds", 61.0}});
  first["cells"][0]["counts"] = {{"ca", {{"hits", 9004}, {"total", 10000}}}};
  Json second = single({{"defense", "a|b"}, {"seed", 3}});
  EXPECT_EQ(render_markdown_table({first, second}),
            "| defense | seeds | CA % | ASR % | PA % | AUROC | time |\n"
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
            "| mcci | 0 | 90.0<br><sub>9,004/10,000</sub> | 12.0 ▲ | 60.0 ▼ | – | 1 min 01 s |\n"
            "| a\\|b | 3 | – | – | – | – | – |\n"
            "\n"
            "All: cifar10, resnet18, badnets. ▲ ASR above 10 %, ▼ PA more than 15 points below CA; ± is the "
            "sample standard deviation over seeds.\n");
}

TEST(Markdown, SeedsFromSeveralResultsAreGrouped) {
  const std::string table = render_markdown_table({single({{"ca", 80}}), single({{"ca", 82}, {"seed", 1}})});
  EXPECT_THAT(table,
              HasSubstr("| mcci | 0, 1 | 81.0 ± 1.4<br><sub>95\u00a0%: ±\u00a012.7; 80.0, 82.0</sub> | – |"));
}

TEST(Markdown, FailuresAndFiguresOfGridsAreTold) {
  Json failed = single({{"seed", 2}, {"rate", 0.1}, {"error", "out of\nmemory"}});
  Json trained = single({{"seed", 1},
                         {"rate", 0.1},
                         {"ca", 90},
                         {"der", 0.95},
                         {"oracle_asr", 1.52},
                         {"pa_over_oracle", 0.9},
                         {"peak_memory_mib", 612.4}});
  const std::string table = render_markdown_table({failed, trained});
  EXPECT_THAT(
      table,
      HasSubstr(
          "| defense | seeds | CA % | ASR % | PA % | oracle's ASR | PA/oracle | DER | MiB | AUROC | time |"));
  EXPECT_THAT(table,
              HasSubstr("| mcci (failed: seed 2) | 1, 2 | 90.0<br><sub>90.0, –</sub> | – | – | 1.5 | 0.900 "
                        "| 0.950 | 612 | – | – |"));
  EXPECT_THAT(table, HasSubstr("Failed:\n\n- badnets, 10\u00a0%, mcci, seed 2: out of memory\n"));
}

TEST(Markdown, APageJoinsResultsAndTellsThemApart) {
  const Json first = single({{"ca", 90}, {"asr", 5}, {"pa", 80}, {"preset", "fast"}});
  Json second = single({{"attack", "blended"}, {"ca", 91}, {"asr", 7}, {"pa", 70}, {"preset", "paper"}});
  second["cells"][0]["preset"] = "fast";
  second["cells"].push_back(second["cells"][0]);
  second["cells"][1].update({{"attack", "sig"}, {"asr", 1}, {"implanted", false}});
  second["cells"].push_back(second["cells"][0]);
  second["cells"][2].update({{"attack", "none"}, {"ca", 92}, {"asr", nullptr}, {"pa", nullptr}});
  const std::string page = render_markdown_page({first, second, second});
  EXPECT_THAT(page, HasSubstr("## Attacks and defenses\n"));
  EXPECT_THAT(page, HasSubstr("### cifar10, resnet18\n\n"
                              "| attack | mcci |\n| --- | ---: |\n"
                              "| badnets | 90.0 / 5.0 / 80.0 |\n"
                              "| blended | 91.0 / 7.0 / 70.0 |\n"
                              "| sig | 91.0 / 1.0 / 70.0 † |\n"
                              "| **mean** | **90.5 / 6.0 / 75.0** |\n"
                              "| clean set | 92.0 |\n"));
  EXPECT_EQ(occurrences(page, "\n## One run (fast)\n"), 3u);
  EXPECT_EQ(occurrences(render_markdown_page({first}), "## One run\n"), 1u) << "one title needs no more";
}

TEST(Markdown, ATableShowsWhatWasRunAtItsRate) {
  const Json often = single({{"rate", 0.1}, {"ca", 90}, {"asr", 5}, {"pa", 80}});
  const Json seldom = single({{"rate", 0.01}, {"attack", "sig"}, {"defense", "abl"}, {"ca", 91}});
  const std::string page = render_markdown_page({often, seldom});
  EXPECT_THAT(page,
              HasSubstr("1\u00a0% poisoned\n\n| attack | abl |\n| --- | ---: |\n| sig | 91.0 / – / – |\n\n"));
  EXPECT_THAT(
      page,
      HasSubstr(
          "10\u00a0% poisoned\n\n| attack | mcci |\n| --- | ---: |\n| badnets | 90.0 / 5.0 / 80.0 |\n\n"));
}

TEST(Markdown, WhatADefenseWasGivenStandsBesideItsFigures) {
  Json json = single({{"ca", 90}, {"asr", 5}, {"pa", 80}});
  json["cells"].push_back(
      single({{"defense", "pdb"}, {"ca", 91}, {"assumes", "60 clean images"}})["cells"][0]);
  const Json other = single({{"attack", "sig"}, {"ca", 92}});
  const std::string page = render_markdown_page({json, other});
  EXPECT_THAT(page, HasSubstr("| pdb (given 60 clean images) |"));
  EXPECT_THAT(page, HasSubstr("| attack | mcci | pdb ‡ |"));
  EXPECT_THAT(page, HasSubstr("\n‡ given more than the training set: pdb: 60 clean images.\n"));
  const std::string table = render_latex_table({json, other});
  EXPECT_THAT(table, HasSubstr("{pdb $^\\ddagger$}"));
  EXPECT_THAT(table, HasSubstr("$^\\ddagger$ given more than the training set: pdb: 60 clean images.}"));
  EXPECT_THAT(render_csv({json}), HasSubstr(",pdb,,60 clean images,0,91,"));
}

TEST(Markdown, ALongTableOfAPageIsFolded) {
  const std::string page = render_markdown_page({grid()});
  EXPECT_THAT(page, HasSubstr("<details><summary>All 30 rows</summary>\n\n| attack |"));
  EXPECT_THAT(page, HasSubstr("| blended | 92.3 / 98.2 / 1.7 | failed | 91.3 / 2.1 / 88.1 |"));
  EXPECT_THAT(page, HasSubstr("### cifar10, resnet18-w16, 1\u00a0% poisoned"));
}

TEST(Csv, HasALineForEachCell) {
  Json json =
      single({{"ca", 90.25}, {"asr", 1.0 / 3}, {"rate", 0.1}, {"implanted", true}, {"attack_preset", "a,b"}});
  json["cells"][0]["counts"] = {{"ca", {{"hits", 9025}, {"total", 10000}}}};
  json["cells"][0]["detection"] = {{"flagged", 12}, {"precision", 0.5}, {"threshold", 3.5}};
  json["cells"].push_back(single({{"seed", 1}, {"error", "say \"no\""}, {"id", "f00"}})["cells"][0]);
  EXPECT_EQ(
      render_csv({json}),
      "dataset,attack,attack_preset,rate,rate_of_target_class,model,defense,preset,assumes,seed,ca,asr,pa,"
      "pa_over_oracle,oracle_asr,oracle_pa,der,auroc,flagged,precision,recall,false_positive_rate,threshold,"
      "implanted,seconds,peak_memory_mib,ca_hits,ca_total,asr_hits,asr_total,pa_hits,pa_total,oracle_asr_"
      "hits,"
      "oracle_asr_total,oracle_pa_hits,oracle_pa_total,error,id\r\n"
      "cifar10,badnets,\"a,b\",0.1,,resnet18,mcci,,,0,90.25,0.3333333333333333,,,,,,,12,0.5,,,3.5,true,,,"
      "9025,"
      "10000,,,,,,,,,,\r\n"
      "cifar10,badnets,,,,resnet18,mcci,,,1,,,,,,,,,,,,,,,,,,,,,,,,,,,\"say \"\"no\"\"\",f00\r\n");
}

TEST(Csv, OfAGridIsRectangular) {
  const std::string text = render_csv({grid(), grid()});
  std::istringstream lines(text);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) EXPECT_EQ(occurrences(line, ","), 37u) << line;
  EXPECT_EQ(count, 61u) << "cells of one id are written once";
}

TEST(Latex, IsATableOfAttackByDefense) {
  Json json = single({{"ca", 90}, {"asr", 5}, {"pa", 80}, {"rate", 0.1}, {"defense", "a_b"}});
  const auto add = [&](const Json& cell) {
    json["cells"].push_back(json["cells"][0]);
    json["cells"].back().update(cell);
  };
  add({{"seed", 1}, {"ca", 92}});
  add({{"attack", "sig"}, {"implanted", false}, {"asr", 1}});
  add({{"attack", "none"}, {"rate", 0}, {"asr", nullptr}, {"pa", nullptr}});
  add({{"attack", "sig"}, {"defense", "x"}, {"error", "no"}});
  EXPECT_EQ(
      render_latex_table({json}),
      "% Needs \\usepackage{booktabs}.\n"
      "\\begin{table}\n\\centering\n"
      "\\caption{cifar10, resnet18, 10~\\% poisoned: CA, ASR and PA in percent, mean $\\pm$ standard "
      "deviation over seeds (last line: over attacks). $^\\dagger$: did not implant, left out of the mean "
      "over attacks.}\n"
      "\\begin{tabular}{lrrrrrr}\n"
      "  \\toprule\n"
      "   & \\multicolumn{3}{c}{a\\_b} & \\multicolumn{3}{c}{x} \\\\\n"
      "  \\cmidrule(lr){2-4} \\cmidrule(lr){5-7}\n"
      "  attack & CA & ASR & PA & CA & ASR & PA \\\\\n"
      "  \\midrule\n"
      "  badnets & $91.0 \\pm 1.4$ & $5.0 \\pm 0.0$ & $80.0 \\pm 0.0$ & & & \\\\\n"
      "  sig & $90.0$$^\\dagger$ & $1.0$$^\\dagger$ & $80.0$$^\\dagger$ & \\multicolumn{3}{c}{failed} \\\\\n"
      "  mean & $91.0$ & $5.0$ & $80.0$ & -- & -- & -- \\\\\n"
      "  \\midrule\n"
      "  clean set & $90.0$ & -- & -- & & & \\\\\n"
      "  \\bottomrule\n\\end{tabular}\n\\end{table}\n");
}

TEST(Markdown, ErrorsNameTheResult) {
  expect_error(ErrorKind::data, {"result 2", "schema"}, [] {
    render_markdown_table({single(), Json::object()});
  });
}

TEST(TextTable, IsAlignedByCharactersAndClosesWithTheMean) {
  Json json = single({{"ca", 80}, {"asr", 50}, {"pa", 40}, {"auroc", 0.9}, {"seconds", 10}});
  json["cells"].push_back(json["cells"][0]);
  json["cells"][1].update({{"seed", 1}, {"ca", 82}, {"asr", 0}, {"pa", 80}, {"auroc", nullptr}});
  json["cells"][1]["counts"] = {{"asr", {{"hits", 0}, {"total", 9000}}}};
  EXPECT_EQ(render_text_table(json),
            "One run\n"
            "cifar10, resnet18, badnets\n"
            "\n"
            "defense  seed  CA %        ASR %          PA %         AUROC  seconds\n"
            "mcci     0     80.0        50.0 ▲         40.0 ▼       0.900  10\n"
            "mcci     1     82.0        0.0 (0/9,000)  80.0         –      10\n"
            "mcci     mean  81.0 ± 1.4  25.0 ± 35.4    60.0 ± 28.3  0.900  10 ± 0\n"
            "mcci     95 %  ± 12.7      ± 317.7        ± 254.1             ± 0\n"
            "\n"
            "▲ ASR above 10 %, ▼ PA more than 15 points below CA; ± is the sample standard deviation over "
            "seeds, 95 % half the confidence interval of the mean (Student's t).\n");
}

TEST(TextTable, NamesTheTrainingsThatFailed) {
  EXPECT_THAT(render_text_table(single({{"error", "out of\nmemory"}})),
              AllOf(HasSubstr("mcci (failed: seed 0)"),
                    HasSubstr("\nfailed: badnets, mcci, seed 0: out of?memory\n")));
}

TEST(TextTable, KeepsTerminalSequencesFromTheTerminal) {
  Json json = single({{"defense", "mcci\x1b[2J"}});
  json["title"] = "a\x1b]0;b\x07";
  EXPECT_THAT(render_text_table(json), AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\x07"))));
}

TEST(Tables, OfTheSampleNeedNoFigures) {
  EXPECT_EQ(render_text_table(sample()), render_text_table(without_figures(sample())));
  EXPECT_EQ(render_markdown_table({sample()}), render_markdown_table({without_figures(sample())}));
}

}  // namespace
}  // namespace mcci
