#include "mcci/suite/bench.hpp"

#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/attacks/poisoned_dataset.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/version.hpp"
#include "mcci/report/report.hpp"
#include "mcci/suite/collection.hpp"
#include "mcci/suite/grid.hpp"
#include "mcci/suite/plan.hpp"
#include "mcci/suite/processes.hpp"
#include "mcci/suite/result.hpp"
#include "mcci/suite/run.hpp"
#include "mcci/suite/work.hpp"
#include "tests/core/support.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Grid parsed(const std::string& text) {
  const test::TemporaryFolder folder;
  return read_grid(folder.write("grid.toml", text));
}

Grid small_grid() {
  return parsed(R"(
    title = "small"
    data = ["photos"]
    models = [{backbone = "resnet8", width = 4}]
    attacks = ["badnets", {name = "blended", preset = "paper", rates = [0.2], options = {alpha = 0.3}}]
    rates = [0, 0.1]
    seeds = [1, 2]
    defenses = ["none", "mcci"]
    train = {epochs = 1}
  )");
}

Plan plan_of(const Grid& grid) {
  return plan_grid(grid,
                   std::vector<DataIdentity>(grid.data.size(), {"train hash", "test hash", {3, 16, 16}}));
}

std::int64_t count(const Plan& plan, Unit::Kind kind) {
  return std::count_if(plan.tasks.begin(), plan.tasks.end(),
                       [&](const Task& task) { return task.unit.kind == kind; });
}

std::vector<std::string> titles(const Plan& plan) {
  std::vector<std::string> result;
  for (const Task& task : plan.tasks) {
    if (task.unit.kind == Unit::Kind::cell && task.listed) result.push_back(task.unit.title);
  }
  return result;
}

std::set<std::string> keys(const Plan& plan) {
  std::set<std::string> result;
  for (const Task& task : plan.tasks) result.insert(task.unit.key);
  return result;
}

TEST(GridFile, ReadsEveryKey) {
  const Grid grid = parsed(R"(
    data = ["photos", {name = "digits", label = "D", options = {image-size = 16, fit = "pad"}}]
    models = ["resnet18", {backbone = "resnet8", width = 4, depth = 2, weights = "w/r8.pth", label = "R8", options = {fine-tune = "linear-probe"}}]
    attacks = [{name = "sig", label = "SIG", preset = "paper", rates = [0.5, 1], rate-of = "target_class", options = {delta = 30}}]
    rates = [0, 0.25]
    seeds = [7]
    defenses = [{name = "mcci", label = "ours", preset = "paper", perception = "own", options = {embedding = 50}}, "none"]
    preset = "fast"
    oracle = false
    test-images = 20
    curve-images = 0
    [train]
    epochs = 3
    milestones = ["1", "2"]
  )");
  EXPECT_EQ(grid.title, "grid");
  ASSERT_EQ(grid.data.size(), 2U);
  EXPECT_EQ(grid.data[0].name, "photos");
  EXPECT_EQ(grid.data[1].label, "D");
  EXPECT_EQ(grid.data[1].options, Json({{"fit", "pad"}, {"image-size", 16}}));
  EXPECT_EQ(grid.models[0].backbone, "resnet18");
  EXPECT_EQ(grid.models[1].label, "R8");
  EXPECT_EQ(grid.models[1].width, 4);
  EXPECT_EQ(grid.models[1].depth, 2);
  EXPECT_EQ(grid.models[1].weights, "w/r8.pth");
  EXPECT_EQ(grid.models[1].options, Json({{"fine-tune", "linear-probe"}}));
  EXPECT_EQ(grid.attacks[0].rate_of, RateOf::target_class);
  EXPECT_THAT(grid.attacks[0].rates, ElementsAre(0.5, 1.0));
  EXPECT_EQ(grid.attacks[0].options["delta"], 30);
  EXPECT_THAT(grid.rates, ElementsAre(0.0, 0.25));
  EXPECT_THAT(grid.seeds, ElementsAre(7));
  EXPECT_EQ(grid.defenses[0].preset, "paper");
  EXPECT_EQ(grid.defenses[0].perception, "own");
  EXPECT_EQ(grid.defenses[1].preset, "fast");
  EXPECT_FALSE(grid.oracle);
  EXPECT_EQ(grid.test_images, 20);
  EXPECT_EQ(grid.curve_images, 0);
  EXPECT_EQ(grid.train["milestones"], Json({"1", "2"}));
}

// The evaluation rules are what a grid does when it says nothing of them.
TEST(GridFile, DefaultsAreTheRules) {
  const Grid grid = parsed("data = ['photos']\nattacks = ['badnets']");
  EXPECT_THAT(grid.rates, ElementsAre(0.0, 0.01, 0.05, 0.1));
  EXPECT_THAT(grid.seeds, ElementsAre(1, 2, 3));
  EXPECT_TRUE(grid.oracle);
  EXPECT_EQ(titles(plan_of(grid)).front(), "none (fast) on clean photos, resnet18, seed 1");
}

// So a cell is the same cell after its attack or defense has got another option.
TEST(GridPlan, DefaultsAreNoPartOfAKey) {
  const auto keys_with = [](const std::string& of_attack, const std::string& of_defense) {
    return keys(plan_of(parsed("data = ['photos']\nrates = [0.1]\nseeds = [1]\nattacks = [{name = 'badnets'" +
                               of_attack + "}]\ndefenses = [{name = 'mcci'" + of_defense + "}]")));
  };
  const std::set<std::string> plain = keys_with("", "");
  EXPECT_EQ(keys_with(", options = {patch-size = 0}", ", options = {prior = 0.12}"), plain);
  EXPECT_NE(keys_with(", options = {patch-size = 5}", ""), plain);
  EXPECT_NE(keys_with("", ", options = {prior = 0.2}"), plain);
}

// One model, which is trained once, then measured under each perception in turn.
TEST(GridPlan, PerceptionsShareAModel) {
  const Plan plan =
      plan_of(parsed("data = ['photos']\nattacks = ['badnets']\nrates = [0.1]\nseeds = [1]\noracle = false\n"
                     "defenses = ['none', 'mcci', {name = 'mcci', label = 'own', perception = 'own'}]"));
  std::map<std::string, Task> cells;
  for (const Task& task : plan.tasks) cells[task.unit.defense_label] = task;
  EXPECT_EQ(cells["mcci"].unit.model, cells["own"].unit.model);
  EXPECT_NE(cells["mcci"].unit.key, cells["own"].unit.key);
  EXPECT_THAT(cells["own"].needs, ::testing::Contains(cells["mcci"].unit.key));
  EXPECT_FALSE(cells["own"].unit.pictured);
  EXPECT_EQ(Unit::from_json(cells["own"].unit.to_json(), "unit").perception, "own");
}

TEST(GridFile, RefusesWhatItDoesNotKnow) {
  const auto refuses = [](const std::string& text, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::usage, parts, [&] { plan_of(parsed(text)); });
  };
  const std::string data = "data = ['photos']\n";
  refuses(data + "atacks = ['badnets']", {"grid.toml:2", "atacks", "attacks"});
  refuses(data + "attacks = [\n{name = 'badnets', rate = 0.1}]", {"grid.toml:3", "rate", "rates"});
  refuses(data + "attacks = [{preset = 'paper'}]", {"grid.toml:2", "name"});
  refuses(data + "attacks = [1]", {"grid.toml:2", "a name or a table"});
  refuses(data + "attacks = []", {"attacks", "1 to 1000 entries"});
  refuses(data + "rates = [0.1, 1.5]", {"grid.toml:2", "between 0 and 1"});
  refuses(data + "rates = [nan]", {"between 0 and 1"});
  refuses(data + "rates = [0.1, 0.1]", {"all different"});
  refuses(data + "seeds = [-1]", {"from 0"});
  refuses(data + "seeds = [1.5]", {"an integer"});
  refuses(data + "models = [{backbone = 'resnet8', width = 100000}]", {"width", "2048"});
  refuses(data + "test-images = 'all'", {"test-images", "an integer"});
  refuses(data + "defenses = [\n{name = 'abl', told = true}]", {"grid.toml:3", "only 'none'"});
  refuses(data + "oracle = 1", {"true or false"});
  refuses(data + "defenses = [\n{name = 'mcci', perception = 'fake'}]", {"grid.toml:3", "fake", "own"});
  refuses(data + "train = {milestones = [1]}", {"lists of texts"});
  refuses(data + "title = 3", {"a text"});
  refuses("title = 'x'", {"data"});
  refuses("data = = 1", {"grid.toml:1"});
  // What only the rooms that are named can judge.
  refuses(data + "attacks = ['badnet']", {"grid.toml:2", "badnets"});
  refuses(data + "attacks = [{name = 'badnets', preset = 'papr'}]", {"grid.toml:2", "paper"});
  refuses(data + "attacks = [{name = 'badnets', options = {patch = 3}}]", {"grid.toml:2", "patch-size"});
  refuses(data + "defenses = ['mci']", {"grid.toml:2", "mcci"});
  refuses(data + "defenses = [{name = 'mcci', preset = 'quick'}]", {"grid.toml:2", "robust"});
  refuses(data + "defenses = [{name = 'mcci', options = {embeding = 3}}]", {"grid.toml:2", "embedding"});
  refuses(data + "models = [{backbone = 'resnet8', options = {fine-tun = 'full'}}]",
          {"grid.toml:2", "fine-tune"});
  refuses(data + "models = [{backbone = 'resnet8', depth = 65}]", {"depth", "64"});
  refuses(data + "train = {weights = 'w.pth'}", {"grid.toml:2", "the grid has a key for it"});
  refuses(data + "models = ['resnet9']", {"grid.toml:2", "resnet8"});
  refuses(data + "[train]\nepoch = 3", {"grid.toml:2", "epochs"});
  refuses(data + "train = {seed = 3}", {"grid.toml:2", "the grid has a key for it"});
  refuses("data = [{name = 'photos', options = {imagesize = 3}}]", {"grid.toml:1", "image-size"});
  refuses(data + "attacks = ['badnets', 'badnets']", {"twice"});
  refuses(data + "defenses = ['none', 'none']", {"twice"});
}

TEST(Plan, CountsWhatTheGridSays) {
  const Plan plan = plan_of(small_grid());
  // For each seed: the clean set, badnets at 0.1 and blended at 0.2, each undefended and defended.
  EXPECT_EQ(count(plan, Unit::Kind::poison), 2 * 2);
  EXPECT_EQ(count(plan, Unit::Kind::cell), 2 * 3 * 2);
  EXPECT_EQ(count(plan, Unit::Kind::oracle), 2 * 2);
  EXPECT_EQ(plan.cells.size(), 12U);
  EXPECT_EQ(keys(plan).size(), plan.tasks.size());
  EXPECT_THAT(titles(plan), ElementsAre("none (fast) on clean photos, resnet8-w4, seed 1",
                                        "mcci (robust) on clean photos, resnet8-w4, seed 1",
                                        "none (fast) on badnets 10 % on photos, resnet8-w4, seed 1",
                                        "mcci (robust) on badnets 10 % on photos, resnet8-w4, seed 1",
                                        "none (fast) on blended 20 % on photos, resnet8-w4, seed 1",
                                        "mcci (robust) on blended 20 % on photos, resnet8-w4, seed 1",
                                        "none (fast) on clean photos, resnet8-w4, seed 2",
                                        "mcci (robust) on clean photos, resnet8-w4, seed 2",
                                        "none (fast) on badnets 10 % on photos, resnet8-w4, seed 2",
                                        "mcci (robust) on badnets 10 % on photos, resnet8-w4, seed 2",
                                        "none (fast) on blended 20 % on photos, resnet8-w4, seed 2",
                                        "mcci (robust) on blended 20 % on photos, resnet8-w4, seed 2"));
}

TEST(Plan, EveryNeedComesFirst) {
  std::set<std::string> seen;
  for (const Task& task : plan_of(small_grid()).tasks) {
    for (const std::string& key : task.needs) EXPECT_EQ(seen.count(key), 1U) << task.unit.title;
    seen.insert(task.unit.key);
  }
}

TEST(Plan, AddsUndefendedRowsAndTheOracle) {
  Grid grid = small_grid();
  grid.rates = {0.1};
  grid.defenses.erase(grid.defenses.begin());  // none
  grid.seeds = {1};
  const Plan plan = plan_of(grid);
  EXPECT_THAT(titles(plan), ElementsAre("none (fast) on clean photos, resnet8-w4, seed 1",
                                        "none (fast) on badnets 10 % on photos, resnet8-w4, seed 1",
                                        "mcci (robust) on badnets 10 % on photos, resnet8-w4, seed 1",
                                        "none (fast) on blended 20 % on photos, resnet8-w4, seed 1",
                                        "mcci (robust) on blended 20 % on photos, resnet8-w4, seed 1"));
  grid.oracle = false;
  EXPECT_EQ(titles(plan_of(grid)).size(), 4U);
  EXPECT_EQ(count(plan_of(grid), Unit::Kind::oracle), 0);
}

TEST(Plan, CellsAreComparedWithTheUndefendedOneOfTheirPreset) {
  Grid grid = small_grid();
  grid.attacks.resize(1);
  grid.seeds = {1};
  grid.defenses = {};
  for (const auto& [name, preset] : std::vector<std::pair<std::string, std::string>>{
           {"mcci", "paper"}, {"none", "fast"}, {"none", "paper"}, {"mcci", "robust"}}) {
    GridDefense defense;
    defense.name = name;
    defense.preset = preset;
    grid.defenses.push_back(defense);
  }
  std::map<std::string, const Task*> by_title;
  const Plan plan = plan_of(grid);
  for (const Task& task : plan.tasks) by_title[task.unit.title] = &task;
  const std::string on = " on badnets 10 % on photos, resnet8-w4, seed 1";
  // The first undefended one stands in for a preset that only the defense has.
  for (const auto& [of_none, of_mcci] :
       std::map<std::string, std::string>{{"(fast)", "(robust)"}, {"(paper)", "(paper)"}}) {
    const Task& undefended = *by_title.at("none " + of_none + on);
    EXPECT_EQ(by_title.at("mcci " + of_mcci + on)->undefended, undefended.unit.key);
    EXPECT_EQ(undefended.undefended, undefended.unit.key);
    EXPECT_EQ(by_title.at("mcci " + of_mcci + on)->oracle, undefended.oracle);
    EXPECT_FALSE(undefended.oracle.empty());
  }
  EXPECT_NE(by_title.at("none (fast)" + on)->oracle, by_title.at("none (paper)" + on)->oracle);
}

// Two ways to fine-tune one network are two models, each with its own undefended cell.
TEST(Plan, ModelsAreNamedByWhatTheyAre) {
  Grid grid = small_grid();
  grid.models.resize(1);
  GridModel tuned = grid.models[0];
  tuned.depth = 3;
  tuned.weights = "folder/r8.safetensors";
  GridModel probed = tuned;
  probed.label = "probe";
  probed.options["fine-tune"] = "linear-probe";
  grid.models.push_back(tuned);
  grid.models.push_back(probed);
  std::map<std::string, std::string> fine_tune, undefended;
  const Plan plan = plan_of(grid);
  for (const Task& task : plan.tasks) {
    if (task.unit.kind != Unit::Kind::cell) continue;
    fine_tune[task.unit.model_label] = task.unit.run.at("fine-tune").get<std::string>();
    if (task.unit.defense_label == "none") undefended[task.unit.key] = task.unit.model_label;
    EXPECT_EQ(undefended.at(task.undefended), task.unit.model_label);
  }
  const std::map<std::string, std::string> expected = {
      {"resnet8-w4", "full"}, {"resnet8-w4-d3 from r8", "full"}, {"probe", "linear-probe"}};
  EXPECT_EQ(fine_tune, expected);
}

// The key of the last cell, an attacked and defended one, after a change to the grid or the data.
TEST(Plan, KeysChangeWithWhatDeterminesTheOutcomeAndNothingElse) {
  const auto key_after = [](const std::function<void(Grid&, DataIdentity&)>& change) {
    Grid grid = small_grid();
    DataIdentity identity{"train hash", "test hash", {3, 16, 16}};
    change(grid, identity);
    return plan_grid(grid, {identity}).cells.back();
  };
  const std::string key = key_after([](Grid&, DataIdentity&) {});
  EXPECT_EQ(key.size(), 32U);
  EXPECT_EQ(key.find_first_not_of("0123456789abcdef"), std::string::npos);

  const std::vector<std::pair<std::string, std::function<void(Grid&, DataIdentity&)>>> determining = {
      {"training images", [](Grid&, DataIdentity& data) { data.train = "other"; }},
      {"test images", [](Grid&, DataIdentity& data) { data.test = "other"; }},
      {"backbone", [](Grid& grid, DataIdentity&) { grid.models[0].backbone = "resnet18"; }},
      {"width", [](Grid& grid, DataIdentity&) { grid.models[0].width = 8; }},
      {"depth", [](Grid& grid, DataIdentity&) { grid.models[0].depth = 2; }},
      {"weights", [](Grid& grid, DataIdentity&) { grid.models[0].weights = "w.pth"; }},
      {"model's option", [](Grid& grid, DataIdentity&) { grid.models[0].options["layer-decay"] = 0.5; }},
      {"attack",
       [](Grid& grid, DataIdentity&) { grid.attacks[1] = grid.attacks[0], grid.attacks[0].name = "wanet"; }},
      {"preset", [](Grid& grid, DataIdentity&) { grid.attacks[1].preset = "backdoorbench"; }},
      {"option", [](Grid& grid, DataIdentity&) { grid.attacks[1].options["alpha"] = 0.31; }},
      {"rate", [](Grid& grid, DataIdentity&) { grid.attacks[1].rates = {0.21}; }},
      {"rate of", [](Grid& grid, DataIdentity&) { grid.attacks[1].rate_of = RateOf::target_class; }},
      {"seed",
       [](Grid& grid, DataIdentity&) {
         grid.seeds = {1, 3};
       }},
      {"defense's preset", [](Grid& grid, DataIdentity&) { grid.defenses[1].preset = "paper"; }},
      {"defense's option", [](Grid& grid, DataIdentity&) { grid.defenses[1].options["embedding"] = 10; }},
      {"training option", [](Grid& grid, DataIdentity&) { grid.train["lr"] = 0.05; }},
      {"images of the curve", [](Grid& grid, DataIdentity&) { grid.curve_images = 5; }},
      {"test images counted", [](Grid& grid, DataIdentity&) { grid.test_images = 5; }}};
  std::set<std::string> all = {key};
  for (const auto& [name, change] : determining) {
    EXPECT_TRUE(all.insert(key_after(change)).second) << name;
  }

  const std::vector<std::pair<std::string, std::function<void(Grid&, DataIdentity&)>>> irrelevant = {
      {"title", [](Grid& grid, DataIdentity&) { grid.title = "other"; }},
      {"labels",
       [](Grid& grid, DataIdentity&) {
         grid.data[0].label = grid.attacks[1].label = grid.defenses[1].label = grid.models[0].label = "x";
       }},
      {"name of the data", [](Grid& grid, DataIdentity&) { grid.data[0].name = "elsewhere/photos"; }},
      {"value of the preset", [](Grid& grid, DataIdentity&) { grid.attacks[1].options["target-class"] = 1; }},
      {"other attacks", [](Grid& grid, DataIdentity&) { grid.attacks.erase(grid.attacks.begin()); }},
      {"other seeds", [](Grid& grid, DataIdentity&) { grid.seeds = {2}; }},
      {"how often is saved", [](Grid& grid, DataIdentity&) { grid.train["checkpoint-minutes"] = 9; }},
      {"threads that load", [](Grid& grid, DataIdentity&) { grid.train["workers"] = 2; }},
      {"oracle", [](Grid& grid, DataIdentity&) { grid.oracle = false; }}};
  for (const auto& [name, change] : irrelevant) EXPECT_EQ(key_after(change), key) << name;
}

// A picture that is blended in determines the outcome by its content, not by its name.
TEST(Plan, KeysChangeWithTheContentOfNamedFiles) {
  const test::TemporaryFolder folder;
  Grid grid = small_grid();
  grid.attacks[1].options["image"] = folder.write("a.png", "one").string();
  const std::string before = plan_of(grid).cells.back();
  EXPECT_EQ(plan_of(grid).cells.back(), before);
  folder.write("a.png", "two");
  EXPECT_NE(plan_of(grid).cells.back(), before);
}

TEST(Plan, KeysChangeWithThePicturesOfSeveralAttacks) {
  const test::TemporaryFolder folder;
  Grid grid = small_grid();
  grid.attacks[1].name = "several";
  grid.attacks[1].preset = "backdoorbench";
  grid.attacks[1].options = {
      {"parts", {"badnets", "blended image=" + folder.write("a.png", "one").string()}}};
  const std::string before = plan_of(grid).cells.back();
  folder.write("a.png", "two");
  EXPECT_NE(plan_of(grid).cells.back(), before);
}

// Run where a folder is called as a defense and a file as an optimizer: neither is meant.
TEST(Plan, KeysDoNotDependOnTheWorkingDirectory) {
  const test::TemporaryFolder folder;
  const std::string before = plan_of(small_grid()).cells.back();
  const fs::path here = fs::current_path();
  fs::current_path(folder.path());
  fs::create_directory("mcci");
  folder.write("mcci/file", "one");
  folder.write("sgd", "two");
  const std::string there = plan_of(small_grid()).cells.back();
  fs::current_path(here);
  EXPECT_EQ(there, before);
}

TEST(Plan, UnitsSurviveTheirFile) {
  const Plan plan = plan_of(small_grid());
  for (const Task& task : plan.tasks) {
    EXPECT_EQ(Unit::from_json(task.unit.to_json(), "unit").to_json(), task.unit.to_json());
  }
  Json broken = plan.tasks.front().unit.to_json();
  broken["kind"] = "train";
  test::expect_error(ErrorKind::data, {"unit", "train"}, [&] { Unit::from_json(broken, "unit"); });
  broken.erase("kind");
  test::expect_error(ErrorKind::data, {"kind"}, [&] { Unit::from_json(broken, "unit"); });
}

TEST(Shard, PartsAreThePartitionOfTheWhole) {
  const Plan whole = plan_of(small_grid());
  for (const std::int64_t parts : {1, 2, 3, 7}) {
    std::multiset<std::string> cells;
    std::map<std::string, std::int64_t> part_of_set;
    for (std::int64_t i = 1; i <= parts; ++i) {
      const Plan part = take_shard(whole, {i, parts});
      EXPECT_EQ(part.cells, whole.cells);
      const std::set<std::string> there = keys(part);
      for (const Task& task : part.tasks) {
        for (const std::string& need : task.needs) EXPECT_EQ(there.count(need), 1U);
        if (!task.listed) continue;
        cells.insert(task.unit.key);
        // What it is compared with is there too, and its poisoned set is made on one machine only.
        EXPECT_EQ(there.count(task.undefended), 1U);
        EXPECT_TRUE(task.oracle.empty() || there.count(task.oracle) == 1U);
        if (!task.unit.poisoned.empty()) {
          EXPECT_EQ(part_of_set.emplace(task.unit.poisoned, i).first->second, i);
        }
      }
    }
    EXPECT_EQ(cells, std::multiset<std::string>(whole.cells.begin(), whole.cells.end()));
  }
}

TEST(Shard, Text) {
  EXPECT_EQ(Shard::parse("2/3").index, 2);
  EXPECT_EQ(Shard::parse("2/3").count, 3);
  EXPECT_EQ(Shard::parse("2/3").text(), "2/3");
  for (const char* text : {"", "2", "0/3", "4/3", "1/0", "-1/3", "1/3x", "a/b", "1/99999999999999999999"}) {
    test::expect_error(ErrorKind::usage, {"--shard", "2/3"}, [&] { Shard::parse(text); });
  }
}

Json cell_with(const std::string& id, double ca, double asr, double pa) {
  Json cell = new_cell();
  cell["id"] = id;
  cell["ca"] = ca;
  cell["asr"] = asr;
  cell["pa"] = pa;
  return cell;
}

TEST(Relate, FiguresByHand) {
  const Json undefended = cell_with("u", 91, 96, 4);
  const Json oracle = {
      {"oracle_asr", 10.0},
      {"oracle_pa", 80.0},
      {"counts",
       {{"oracle_asr", {{"hits", 1}, {"total", 10}}}, {"oracle_pa", {{"hits", 8}, {"total", 10}}}}}};
  Json cell = cell_with("d", 90, 16, 60);
  relate(cell, &undefended, &oracle);
  EXPECT_EQ(cell["implanted"], true);
  EXPECT_NEAR(cell["der"].get<double>(), (0.8 - 0.01 + 1) / 2, 1e-9);
  EXPECT_DOUBLE_EQ(cell["oracle_asr"].get<double>(), 10);
  EXPECT_DOUBLE_EQ(cell["oracle_pa"].get<double>(), 80);
  EXPECT_DOUBLE_EQ(cell["pa_over_oracle"].get<double>(), 0.75);
  EXPECT_EQ(cell["counts"]["oracle_asr"]["hits"], 1);
  EXPECT_EQ(cell["counts"]["oracle_pa"]["total"], 10);

  Json itself = undefended;
  relate(itself, &undefended, &oracle);
  EXPECT_EQ(itself["implanted"], true);
  EXPECT_TRUE(itself["der"].is_null());
  EXPECT_DOUBLE_EQ(itself["pa_over_oracle"].get<double>(), 0.05);
}

TEST(Relate, WhatIsNotThereStaysUndefined) {
  const Json weak = cell_with("u", 91, 49.9, 40);
  Json cell = cell_with("d", 90, 16, 60);
  relate(cell, &weak, nullptr);
  EXPECT_EQ(cell["implanted"], false);
  EXPECT_TRUE(cell["oracle_pa"].is_null());
  EXPECT_TRUE(cell["pa_over_oracle"].is_null());

  Json clean = cell_with("u", 91, 0, 0);
  clean["asr"] = clean["pa"] = nullptr;
  Json defended = clean;
  defended["id"] = "d";
  relate(defended, &clean, nullptr);
  EXPECT_TRUE(defended["implanted"].is_null());
  EXPECT_TRUE(defended["der"].is_null());

  const Json blind = {{"oracle_pa", 0.0}, {"counts", {{"oracle_pa", {{"hits", 0}, {"total", 10}}}}}};
  Json divided = cell_with("d", 90, 16, 60);
  relate(divided, nullptr, &blind);  // from a result that was measured without the oracle's ASR
  EXPECT_TRUE(divided["oracle_asr"].is_null());
  EXPECT_TRUE(divided["pa_over_oracle"].is_null());
  EXPECT_TRUE(divided["implanted"].is_null());
}

// Outcomes as workers leave them, made up.
std::map<std::string, Outcome> outcomes_of(const Plan& plan) {
  std::map<std::string, Outcome> outcomes;
  for (const Task& task : plan.tasks) {
    const Unit& unit = task.unit;
    Outcome outcome;
    outcome.environment = {{"processor", "one"}, {"threads", 1}};
    if (unit.kind == Unit::Kind::oracle) {
      outcome.cell = {{"oracle_pa", 80.0}, {"counts", {{"oracle_pa", {{"hits", 8}, {"total", 10}}}}}};
    } else if (unit.kind == Unit::Kind::cell) {
      const bool defended = unit.defense_label != "none";
      outcome.cell = cell_with("", 90, defended ? 10 : unit.attack_label == "badnets" ? 95 : 20, 60);
      outcome.cell["config"] = {{"data", "/some/where/poisoned"}};
      outcome.cell["seconds"] = 3.5;
      if (unit.poisoned.empty()) outcome.cell["asr"] = outcome.cell["pa"] = nullptr;
      if (unit.pictured) {
        outcome.figures = {{"examples",
                            {{{"image", "figures/" + unit.poisoned + ".png"},
                              {"predictions", {{{"by", unit.defense_label}}}}}}}};
      }
    } else {
      continue;
    }
    outcomes[unit.key] = outcome;
  }
  return outcomes;
}

TEST(Collect, NamesComeFromTheGridAndFiguresFromTheOutcomes) {
  Grid grid = small_grid();
  grid.test_images = 40;
  grid.defenses[1].label = "ours";
  const Plan plan = plan_of(grid);
  auto outcomes = outcomes_of(plan);
  const Json result = collect(plan, outcomes, "mcci bench", {});
  EXPECT_EQ(result["schema"], "mcci.result/1");
  ASSERT_EQ(result["cells"].size(), 12U);
  EXPECT_EQ(result["grid"]["cells"].size(), 12U);
  const Json& clean = result["cells"][1];
  EXPECT_EQ(clean["attack"], "none");
  EXPECT_EQ(clean["rate"], 0);
  EXPECT_TRUE(clean["implanted"].is_null());
  const Json& badnets = result["cells"][3];
  EXPECT_EQ(badnets["defense"], "ours");
  EXPECT_EQ(badnets["preset"], "robust");
  EXPECT_EQ(badnets["model"], "resnet8-w4");
  EXPECT_EQ(badnets["implanted"], true);
  EXPECT_NEAR(badnets["der"].get<double>(), (0.85 + 1) / 2, 1e-9);
  EXPECT_DOUBLE_EQ(badnets["pa_over_oracle"].get<double>(), 0.75);
  EXPECT_EQ(badnets["config"]["data"], "photos");
  EXPECT_EQ(badnets["config"]["test-images"], 40);
  EXPECT_EQ(badnets["config"]["image-size"], 16);
  const Json& blended = result["cells"][5];
  EXPECT_EQ(blended["implanted"], false);
  EXPECT_EQ(blended["config"]["attack.alpha"], 0.3);
  EXPECT_FALSE(blended["config"].contains("attack.target-class"));
  // One example for each attack, with the voices of both cells of the first seed.
  ASSERT_EQ(result["figures"]["examples"].size(), 2U);
  EXPECT_EQ(result["figures"]["examples"][0]["predictions"].size(), 2U);
  EXPECT_EQ(result["environment"]["processor"], "one");

  // A failed cell says why; what has not been run is not there.
  const std::string failed = result["cells"][4]["id"];
  outcomes[failed] = {};
  outcomes[failed].error = "out of memory";
  outcomes.erase(result["cells"][3]["id"].get<std::string>());
  const Json less = collect(plan, outcomes, "mcci bench", {});
  ASSERT_EQ(less["cells"].size(), 11U);
  EXPECT_EQ(less["cells"][3]["error"], "out of memory");
  EXPECT_EQ(less["cells"][3]["attack"], "blended");
  EXPECT_DOUBLE_EQ(less["cells"][3]["rate"].get<double>(), 0.2);
  EXPECT_TRUE(less["cells"][3]["ca"].is_null());
  EXPECT_TRUE(less["cells"][4]["implanted"].is_null());
}

TEST(Merge, PartsGiveTheWhole) {
  const Plan plan = plan_of(small_grid());
  const auto outcomes = outcomes_of(plan);
  const Json whole = collect(plan, outcomes, "mcci bench", {});
  std::vector<Json> parts;
  for (const std::int64_t i : {2, 1, 3}) {
    parts.push_back(collect(take_shard(plan, {i, 3}), outcomes, "mcci bench", {i, 3}));
  }
  const Json merged = merge_results(parts, {"a", "b", "c"}, "mcci bench merge");
  EXPECT_EQ(merged["cells"], whole["cells"]);
  EXPECT_EQ(merged["grid"]["shard"], "1/3, 2/3, 3/3");
  EXPECT_EQ(merged["environment"], whole["environment"]);
  EXPECT_EQ(merged["figures"]["examples"].size(), 2U);

  parts[1]["environment"]["processor"] = "two";
  EXPECT_EQ(merge_results(parts, {"a", "b", "c"}, "")["environment"]["processor"], "one | two");
  // A part twice is no conflict, unless it says something else.
  EXPECT_EQ(merge_results({parts[0], parts[0]}, {"a", "b"}, "")["cells"], parts[0]["cells"]);
  Json other = parts[0];
  other["cells"][0]["seconds"] = 7;
  EXPECT_NO_THROW(merge_results({parts[0], other}, {"a", "b"}, ""));
  other["cells"][0]["ca"] = 12.5;
  test::expect_error(ErrorKind::usage, {"b: ", "something else", "than a"}, [&] {
    merge_results({parts[0], other}, {"a", "b"}, "");
  });
  // What failed on one machine and went well on another went well.
  other["cells"][0] = parts[0]["cells"][0];
  other["cells"][0]["ca"] = nullptr;
  other["cells"][0]["error"] = "out of memory";
  EXPECT_EQ(merge_results({parts[0], other}, {"a", "b"}, "")["cells"], parts[0]["cells"]);
  EXPECT_EQ(merge_results({other, parts[0]}, {"a", "b"}, "")["cells"], parts[0]["cells"]);

  Grid more = small_grid();
  more.seeds = {1};
  const Json another = collect(plan_of(more), {}, "", {});
  test::expect_error(ErrorKind::usage, {"b: ", "another grid", "a"}, [&] {
    merge_results({parts[0], another}, {"a", "b"}, "");
  });
  test::expect_error(ErrorKind::usage, {"a: ", "not the result of a grid"},
                     [&] { merge_results({new_result("train", "", Compute{})}, {"a"}, ""); });
}

// Everything between a grid and its result, in this process: poison, train, evaluate, audit, draw.
class WorkTest : public ::testing::Test {
 protected:
  WorkTest() {
    at::manual_seed(1);
    const at::Tensor images = at::randint(0, 256, {60, 3, 8, 8}, at::kLong).to(at::kByte);
    for (const char* split : {"train", "test"}) {
      for (int i = 0; i < 60; ++i) {
        const fs::path folder = work_.path() / "set" / split / std::string(1, static_cast<char>('a' + i % 3));
        fs::create_directories(folder);
        const at::Tensor pixels = images[i].permute({1, 2, 0}).contiguous();
        std::ofstream file(folder / (std::to_string(i) + ".ppm"), std::ios::binary);
        file << "P6 8 8 255\n";
        file.write(static_cast<const char*>(pixels.data_ptr()), pixels.numel());
      }
    }
    grid_ = parsed(
        "data = ['x']\nmodels = [{backbone = 'resnet8', width = 2}]\nattacks = ['badnets']\n"
        "rates = [0, 0.2]\nseeds = [1]\ndefenses = ['mcci']\ncurve-images = 9\n"
        "train = {epochs = 1, threads = 1, precision = 'fp32'}");
    grid_.data[0].name = (work_.path() / "set").string();
    grid_.defenses[0].options = {{"ain-width", 2}, {"embedding", 4}};
  }

  test::TemporaryFolder work_;
  Grid grid_;
};

TEST_F(WorkTest, EveryUnitLeavesWhatTheResultNeeds) {
  const Plan plan = plan_grid(grid_, {identify(grid_.data[0])});
  const BenchFiles files{work_.path() / "out"};
  std::map<std::string, Outcome> outcomes;
  for (const Task& task : plan.tasks) {
    run_unit(task.unit, files);
    if (task.unit.kind == Unit::Kind::poison) {
      EXPECT_TRUE(fs::exists(files.poisoned(task.unit.key) / "dataset"));
    } else {
      outcomes[task.unit.key] = read_outcome(files.outcome(task.unit.key), task.unit.key);
      EXPECT_EQ(outcomes[task.unit.key].error, "");
    }
  }
  const Json result = collect(plan, outcomes, "mcci bench", {});
  ASSERT_EQ(result["cells"].size(), 4U);
  const Json& clean = result["cells"][1];
  EXPECT_EQ(clean["defense"], "mcci");
  EXPECT_TRUE(clean["asr"].is_null());
  EXPECT_TRUE(clean["auroc"].is_null());
  EXPECT_TRUE(clean["detection"]["recall"].is_null());
  EXPECT_TRUE(clean["detection"]["false_positive_rate"].is_number());
  const Json& attacked = result["cells"][3];
  EXPECT_EQ(attacked["counts"]["ca"]["total"], 60);
  EXPECT_EQ(attacked["counts"]["asr"]["total"], 40);
  EXPECT_EQ(attacked["counts"]["oracle_asr"]["total"], 40);
  EXPECT_EQ(attacked["counts"]["oracle_pa"]["total"], 40);
  EXPECT_DOUBLE_EQ(attacked["rate"].get<double>(), 0.2);
  EXPECT_TRUE(attacked["implanted"].is_boolean());
  EXPECT_TRUE(attacked["auroc"].is_number());
  EXPECT_GT(attacked["peak_memory_mib"].get<double>(), 10);
  EXPECT_TRUE(attacked["history"][0]["asr"].is_number());

  // The oracle is the clean undefended model on the images that the attack has triggered.
  const Json& figures = result["figures"];
  EXPECT_EQ(figures["triggers"].size(), 1U);
  ASSERT_EQ(figures["embeddings"].size(), 2U);
  EXPECT_EQ(figures["embeddings"][0]["panels"].size(), 1U);
  ASSERT_EQ(figures["embeddings"][1]["panels"].size(), 4U);
  const auto point = [&](std::size_t panel, std::size_t i) {
    return figures["embeddings"][1]["panels"][panel]["points"][i];
  };
  for (const std::size_t i : {0, 30, 70}) {
    // z and z_f contribute to [z ; z_f]; mind control leaves of z_f the same for all.
    for (const char* axis : {"x", "y"}) {
      EXPECT_NEAR(point(0, i)[axis].get<double>() + point(1, i)[axis].get<double>(),
                  point(2, i)[axis].get<double>(), 3e-4);
      EXPECT_NEAR(point(3, i)[axis].get<double>() - point(0, i)[axis].get<double>(),
                  point(3, 0)[axis].get<double>() - point(0, 0)[axis].get<double>(), 3e-4);
    }
  }
  write_json(files.result(), result);
  EXPECT_NO_THROW(write_report(files.result(), files.report()));

  // In another folder a known result stands for its cells: no unit is run.
  BenchOptions elsewhere;
  elsewhere.out = work_.path() / "elsewhere";
  elsewhere.known = files.result();
  elsewhere.worker = {"/bin/false"};
  EXPECT_EQ(run_bench(grid_, elsewhere, "mcci bench")["cells"], result["cells"]);
  // Of a grid that has grown by a rate, the oracle of the new cells needs the clean model: that is run again.
  grid_.attacks[0].rates = {0.2, 0.3};
  std::ostringstream listed;
  list_bench(grid_, elsewhere, listed);
  EXPECT_THAT(listed.str(), HasSubstr("3 of 6 cells are finished"));
  write_json(elsewhere.known, {{"schema", "another/1"}});
  test::expect_error(ErrorKind::data, {elsewhere.known.string(), "schema"},
                     [&] { list_bench(grid_, elsewhere, listed); });

  // A model that is there is not trained again.
  const Unit& last = plan.tasks.back().unit;
  const auto before = fs::last_write_time(files.model(last.model) / "checkpoint.safetensors");
  const Outcome again = [&] {
    run_unit(last, files);
    return read_outcome(files.outcome(last.key), last.key);
  }();
  EXPECT_EQ(fs::last_write_time(files.model(last.model) / "checkpoint.safetensors"), before);
  EXPECT_EQ(again.cell["ca"], outcomes[last.key].cell["ca"]);
  test::expect_error(ErrorKind::data, {last.key, "not the outcome"},
                     [&] { read_outcome(files.outcome(last.key), "another key"); });
}

// Told the truth, plain training sees all samples but the poison; it is nobody's yardstick.
TEST_F(WorkTest, WhatIsToldTheTruthLearnsWithoutThePoison) {
  grid_.rates = {0.2};
  grid_.oracle = false;
  grid_.defenses[0] = GridDefense();
  grid_.defenses[0].name = "none";
  grid_.defenses[0].told = true;
  const Plan plan = plan_grid(grid_, {identify(grid_.data[0])});
  const BenchFiles files{work_.path() / "out"};
  ASSERT_EQ(plan.cells.size(), 2U);
  for (const Task& task : plan.tasks) {
    if (task.unit.kind == Unit::Kind::cell && !task.unit.told) continue;
    run_unit(task.unit, files);
    if (task.unit.kind != Unit::Kind::cell) continue;
    EXPECT_NE(task.undefended, task.unit.key);
    const TrainedRun run = open_run(files.model(task.unit.model));
    EXPECT_EQ(run.training_set()->size(), 48);  // of 60
    EXPECT_TRUE(read_outcome(files.outcome(task.unit.key), task.unit.key).cell["asr"].is_number());
  }
}

TEST_F(WorkTest, FailureIsAnOutcome) {
  grid_.attacks[0].name = "sig";
  grid_.attacks[0].rates = {0.9};  // of the whole set: more than a clean-label attack can have
  const Plan plan = plan_grid(grid_, {identify(grid_.data[0])});
  const BenchFiles files{work_.path() / "out"};
  for (const Task& task : plan.tasks) {
    if (task.unit.kind != Unit::Kind::poison) continue;
    run_unit(task.unit, files);
    EXPECT_THAT(read_outcome(files.outcome(task.unit.key), task.unit.key).error, HasSubstr("target class"));
    EXPECT_FALSE(fs::exists(files.poisoned(task.unit.key)));
  }
}

TEST_F(WorkTest, ContentIdentifiesTheData) {
  const DataIdentity identity = identify(grid_.data[0]);
  EXPECT_NE(identity.train.substr(0, 8), "");
  EXPECT_EQ(identity.train, identity.test);  // the same images
  EXPECT_EQ(identity.shape, (ImageShape{3, 8, 8}));
  grid_.data[0].options["image-size"] = 16;
  EXPECT_NE(identify(grid_.data[0]).train, identity.train);
  grid_.data[0].name += "/absent";
  test::expect_error(ErrorKind::usage, {grid_.data[0].where, "absent"}, [&] { identify(grid_.data[0]); });
}

TEST_F(WorkTest, ListsTheCells) {
  BenchOptions options;
  options.out = work_.path() / "out";
  std::ostringstream text;
  list_bench(grid_, options, text);
  EXPECT_THAT(text.str(), HasSubstr("to do "));
  EXPECT_THAT(text.str(), HasSubstr("mcci (robust) on badnets 20 % on "));
  EXPECT_THAT(text.str(), HasSubstr("0 of 4 cells are finished"));
  EXPECT_FALSE(fs::exists(options.out));
}

// One that crashes: its cell is recorded, and so is what needs it.
TEST_F(WorkTest, CrashedProcessesAreRecorded) {
  BenchOptions options;
  options.out = work_.path() / "out";
  options.jobs = 2;
  options.worker = {"/bin/sh", "-c", "kill -9 $$"};
  const Json result = run_bench(grid_, options, "mcci bench");
  ASSERT_EQ(result["cells"].size(), 4U);
  EXPECT_THAT(result["cells"][0]["error"].get<std::string>(), HasSubstr("killed by signal 9"));
  EXPECT_THAT(result["cells"][3]["error"].get<std::string>(), HasSubstr("poisoning: badnets 20 %"));
  EXPECT_TRUE(fs::exists(options.out / "report.html"));
  // Failed cells are left alone, unless they are to be tried again.
  options.worker = {"/bin/false"};
  EXPECT_EQ(run_bench(grid_, options, "mcci bench")["cells"], result["cells"]);
  options.retry_failed = true;
  EXPECT_THAT(run_bench(grid_, options, "mcci bench")["cells"][0]["error"].get<std::string>(),
              HasSubstr("exit code 1"));
}

TEST(Lock, OneProcessAtATime) {
  const test::TemporaryFolder folder;
  {
    const FolderLock first(folder / "lock");
    test::expect_error(ErrorKind::usage, {"another mcci", folder.path().string()},
                       [&] { FolderLock second(folder / "lock"); });
  }
  EXPECT_NO_THROW(FolderLock(folder / "lock"));
  test::expect_error(ErrorKind::io, {"absent"}, [&] { FolderLock(folder / "absent" / "lock"); });
}

}  // namespace
}  // namespace mcci
