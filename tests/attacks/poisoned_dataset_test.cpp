#include "mcci/attacks/poisoned_dataset.hpp"

#include <cmath>
#include <set>

#include "mcci/core/hash.hpp"
#include "mcci/core/interrupt.hpp"
#include "testing.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::UnorderedElementsAre;

DatasetPtr clean_set(std::int64_t count = 40, std::int64_t channels = 3, std::int64_t size = 32) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < count; ++i) names.push_back("photo-" + std::to_string(i));
  return make_memory_dataset(random_images(count, channels, size, size), at::arange(count).remainder(4),
                             {"ant", "bee", "cat", "dog"}, names);
}

AttackSpec badnets(double rate, const Json& options = Json::object()) {
  AttackSpec spec;
  spec.options = options;
  spec.plan.rate = rate;
  spec.plan.seed = 3;
  return spec;
}

at::Tensor all_of(const DatasetPtr& data) { return data->images(at::arange(data->size())); }

// Sample 0 is poison, sample 1 cover, the rest clean. Poison gets its index + 100 in every pixel, cover its
// label + 50.
class SampleSpecific : public Attack {
 public:
  void declare(OptionSet&) override {}
  const Registry<Json>& presets() const override {
    static const Registry<Json> none("preset", {});
    return none;
  }
  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const override {
    return (label + 1) % num_classes;
  }
  PoisonPlan plan(const at::Tensor& labels, std::int64_t num_classes, const PlanOptions&) const override {
    PoisonPlan plan{std::vector<Role>(static_cast<std::size_t>(labels.numel()), Role::clean), labels.clone()};
    for (std::int64_t i = 0; i < labels.numel(); i += 4) {
      plan.roles[static_cast<std::size_t>(i)] = Role::poison;
      plan.roles[static_cast<std::size_t>(i) + 1] = Role::cover;
      plan.labels[i] = attack_label(labels[i].item<std::int64_t>(), num_classes);
    }
    return plan;
  }
  at::Tensor apply(const at::Tensor& images, const at::Tensor& indices, const at::Tensor&,
                   Stage stage) const override {
    EXPECT_EQ(stage, Stage::train);
    return painted(images, indices + 100);
  }
  at::Tensor apply_cover(const at::Tensor& images, const at::Tensor&,
                         const at::Tensor& labels) const override {
    return painted(images, labels + 50);
  }

 private:
  static at::Tensor painted(const at::Tensor& images, const at::Tensor& values) {
    return values.to(at::kByte).view({-1, 1, 1, 1}).expand_as(images).contiguous();
  }
};

TEST(Poison, ReplacesPoisonAndCoverAndNothingElse) {
  const DatasetPtr clean = clean_set();
  const PoisonedDataset poisoned = poison(clean, "photos", AttackSpec(), SampleSpecific());
  for (std::int64_t i = 0; i < clean->size(); ++i) {
    const at::Tensor before = clean->images(ints({i}));
    const at::Tensor after = poisoned.data->images(ints({i}));
    const auto label = clean->labels()[i].item<std::int64_t>();
    const auto recorded = poisoned.data->labels()[i].item<std::int64_t>();
    switch (poisoned.manifest.roles[static_cast<std::size_t>(i)]) {
      case Role::poison:
        EXPECT_EQ(i % 4, 0);
        EXPECT_TRUE(after.equal(at::full_like(before, i + 100)));
        EXPECT_EQ(recorded, (label + 1) % 4);
        break;
      case Role::cover:
        EXPECT_EQ(i % 4, 1);
        EXPECT_TRUE(after.equal(at::full_like(before, label + 50)));
        EXPECT_EQ(recorded, label);
        break;
      case Role::clean:
        EXPECT_TRUE(after.equal(before));
        EXPECT_EQ(recorded, label);
        break;
    }
  }
}

TEST(Poison, GivesADataSetLikeTheCleanOne) {
  const DatasetPtr clean = clean_set();
  const at::Tensor before = all_of(clean);
  const PoisonedDataset poisoned = poison(clean, "photos", badnets(0.25));
  EXPECT_EQ(poisoned.data->size(), 40);
  EXPECT_EQ(poisoned.data->shape(), clean->shape());
  EXPECT_EQ(poisoned.data->classes(), clean->classes());
  EXPECT_EQ(poisoned.data->name(17), "photo-17");
  EXPECT_TRUE(poisoned.data->labels().equal(poisoned.manifest.recorded_labels));
  EXPECT_TRUE(all_of(clean).equal(before));

  const at::Tensor every = all_of(poisoned.data);
  const at::Tensor order = ints({39, 0, 7, 7, 12});
  EXPECT_TRUE(poisoned.data->images(order).equal(every.index_select(0, order)));
  EXPECT_EQ(poisoned.data->images(ints({})).size(0), 0);
}

TEST(Poison, TriggersExactlyThoseTheManifestNames) {
  const DatasetPtr clean = clean_set(600);
  const PoisonedDataset poisoned = poison(clean, "photos", badnets(0.5, {{"target-class", 2}}));
  const Manifest& manifest = poisoned.manifest;
  EXPECT_EQ(at::count_nonzero(manifest.poisoned()).item<std::int64_t>(), 300);
  EXPECT_EQ(manifest.source, "photos");
  EXPECT_EQ(manifest.shape, clean->shape());
  EXPECT_EQ(manifest.classes, clean->classes());
  EXPECT_TRUE(manifest.true_labels.equal(clean->labels()));
  EXPECT_EQ(manifest.attack.options.at("target-class"), 2);
  EXPECT_EQ(manifest.attack.options.at("pattern"), "white");
  EXPECT_EQ(manifest.paths[599], "images/000/000599.png");
  EXPECT_TRUE(manifest.sha256.empty());
  EXPECT_TRUE(manifest.artifacts.empty());

  at::Tensor expected = all_of(clean);
  const at::Tensor rows = at::nonzero(manifest.poisoned()).flatten();
  at::Tensor patched = expected.index_select(0, rows);
  patched.narrow(2, 29, 3).narrow(3, 29, 3).fill_(255);
  expected.index_copy_(0, rows, patched);
  EXPECT_TRUE(all_of(poisoned.data).equal(expected));
}

TEST(Poison, SaysByHowMuchThePoisonChanges) {
  // 8 samples of 4x4 pixels: poison is 0 and 4, painted 100 and 104; covers, painted as well, do not count.
  const DatasetPtr clean = make_memory_dataset(at::full({8, 1, 4, 4}, 110, at::kByte),
                                               at::arange(8).remainder(4), {"a", "b", "c", "d"});
  EXPECT_DOUBLE_EQ(poison(clean, "photos", AttackSpec(), SampleSpecific()).change, (10 + 6) / 2.0);
}

TEST(Poison, WithRateZeroChangesNothing) {
  const DatasetPtr clean = clean_set();
  const PoisonedDataset poisoned = poison(clean, "photos", badnets(0));
  EXPECT_TRUE(all_of(poisoned.data).equal(all_of(clean)));
  EXPECT_TRUE(poisoned.data->labels().equal(clean->labels()));
  EXPECT_EQ(poisoned.manifest.rate_of_whole_set(), 0);
  EXPECT_EQ(poisoned.change, 0);
  EXPECT_TRUE(std::isnan(poisoned.manifest.rate_of_target_class()));
}

TEST(Poison, StopsWhenInterrupted) {
  const DatasetPtr clean = clean_set();
  set_interrupt_requested(true);
  expect_error(ErrorKind::interrupted, "poisoning", [&] { poison(clean, "photos", badnets(0.5)); });
  set_interrupt_requested(false);
}

Manifest manifest_of(const std::vector<Role>& roles, const std::vector<std::int64_t>& true_labels,
                     const std::vector<std::int64_t>& recorded_labels) {
  Manifest manifest;
  manifest.roles = roles;
  manifest.true_labels = ints(true_labels);
  manifest.recorded_labels = ints(recorded_labels);
  return manifest;
}

TEST(ManifestRates, CountPoisonOnly) {
  const Manifest manifest = manifest_of({Role::poison, Role::clean, Role::cover, Role::poison, Role::clean},
                                        {0, 0, 1, 2, 1}, {1, 0, 1, 1, 1});
  EXPECT_DOUBLE_EQ(manifest.rate_of_whole_set(), 0.4);
  EXPECT_DOUBLE_EQ(manifest.rate_of_target_class(), 0.5);  // recorded as 1: samples 0, 2, 3, 4
  EXPECT_TRUE(manifest.poisoned().equal(at::tensor(std::vector<int>{1, 0, 0, 1, 0}, at::kInt).to(at::kBool)));
}

TEST(ManifestRates, AreUndefinedWithoutOneTargetClass) {
  const Manifest all_to_all = manifest_of({Role::poison, Role::poison}, {0, 1}, {1, 0});
  EXPECT_DOUBLE_EQ(all_to_all.rate_of_whole_set(), 1);
  EXPECT_TRUE(std::isnan(all_to_all.rate_of_target_class()));
  EXPECT_TRUE(std::isnan(Manifest(manifest_of({}, {}, {})).rate_of_whole_set()));
}

struct WrittenSet : InFolder {
  fs::path out = folder / "out";
};

std::set<std::string> names_in(const fs::path& path) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(path)) names.insert(entry.path().filename().string());
  return names;
}

TEST_F(WrittenSet, ReadsBackBitByBit) {
  for (const std::int64_t channels : {1, 3}) {
    const fs::path target = folder / ("out" + std::to_string(channels));
    const PoisonedDataset poisoned = poison(clean_set(40, channels, 24), "photos", badnets(0.25));
    write_poisoned_dataset(target, poisoned);
    const DatasetPtr back = open_dataset((target / "dataset").string(), Split::train);
    EXPECT_EQ(back->shape(), poisoned.data->shape());
    EXPECT_EQ(back->classes(), poisoned.data->classes());
    EXPECT_TRUE(back->labels().equal(poisoned.data->labels()));
    EXPECT_TRUE(all_of(back).equal(all_of(poisoned.data)));
  }
}

TEST_F(WrittenSet, SpreadsOverFoldersOfAThousand) {
  const PoisonedDataset poisoned = poison(clean_set(2001, 1, 4), "photos", badnets(0.1));
  write_poisoned_dataset(out, poisoned);
  EXPECT_THAT(names_in(out / "dataset" / "images"), UnorderedElementsAre("000", "001", "002"));
  EXPECT_EQ(names_in(out / "dataset" / "images" / "001").size(), 1000U);
  EXPECT_THAT(names_in(out / "dataset" / "images" / "002"), ElementsAre("002000.png"));
  EXPECT_TRUE(all_of(open_dataset((out / "dataset").string(), Split::train)).equal(all_of(poisoned.data)));
}

TEST_F(WrittenSet, HoldsWhatTheFormatSays) {
  const auto data = make_memory_dataset(random_images(3, 1, 4, 5), ints({0, 1, 1}), {"ant", "bee"});
  write_poisoned_dataset(out, poison(data, "photos", badnets(0)));
  EXPECT_EQ(read_file(out / "dataset" / "labels.csv", 1000),
            "path,label\nimages/000/000000.png,0\nimages/000/000001.png,1\nimages/000/000002.png,1\n");
  EXPECT_EQ(
      read_json(out / "dataset" / "dataset.json"),
      Json::parse(
          R"({"schema": "mcci.dataset/1", "classes": ["ant", "bee"], "shape": [1, 4, 5], "count": 3})"));
}

// The types of a PNG's chunks, in order.
std::vector<std::string> chunks(const std::string& png) {
  std::vector<std::string> types;
  for (std::size_t at = 8; at + 8 <= png.size();) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(png[at + i]);
    types.push_back(png.substr(at + 4, 4));
    at += length + 12;
  }
  return types;
}

TEST_F(WrittenSet, GivesTheLearnerNothingButPixelsAndLabels) {
  write_poisoned_dataset(out, poison(clean_set(), "photos", badnets(0.5)));
  EXPECT_THAT(names_in(out), UnorderedElementsAre("dataset", "truth"));
  EXPECT_THAT(names_in(out / "dataset"), UnorderedElementsAre("dataset.json", "images", "labels.csv"));
  EXPECT_THAT(names_in(out / "truth"), UnorderedElementsAre("manifest.json"));
  std::set<std::vector<std::string>> layouts;
  for (const auto& entry : fs::recursive_directory_iterator(out / "dataset" / "images")) {
    if (entry.is_regular_file()) layouts.insert(chunks(read_file(entry.path(), 1 << 20)));
  }
  ASSERT_EQ(layouts.size(), 1U);
  for (const std::string metadata : {"tIME", "tEXt", "zTXt", "iTXt", "eXIf"}) {
    EXPECT_THAT(*layouts.begin(), testing::Not(testing::Contains(metadata)));
  }
}

TEST_F(WrittenSet, HasAManifestThatTellsTheTruth) {
  const DatasetPtr clean = clean_set();
  const PoisonedDataset poisoned = poison(clean, "photos", badnets(0.25, {{"target-class", 1}}));
  write_poisoned_dataset(out, poisoned);
  const Manifest manifest = read_manifest(out / "truth" / "manifest.json");

  EXPECT_EQ(manifest.attack.to_json(), poisoned.manifest.attack.to_json());
  EXPECT_EQ(manifest.source, "photos");
  EXPECT_EQ(manifest.shape, clean->shape());
  EXPECT_EQ(manifest.classes, clean->classes());
  EXPECT_EQ(manifest.roles, poisoned.manifest.roles);
  EXPECT_TRUE(manifest.true_labels.equal(clean->labels()));
  EXPECT_TRUE(manifest.recorded_labels.equal(poisoned.data->labels()));
  EXPECT_EQ(manifest.paths, poisoned.manifest.paths);
  EXPECT_TRUE(manifest.artifacts.empty());
  ASSERT_EQ(manifest.sha256.size(), 40U);
  for (std::size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(manifest.sha256[i], sha256_file(out / "dataset" / manifest.paths[i]));
  }

  // The manifest is enough to make the triggered images again.
  const at::Tensor rows = at::nonzero(manifest.poisoned()).flatten();
  const at::Tensor again = attack_of(manifest)->apply(
      clean->images(rows), rows, manifest.true_labels.index_select(0, rows), Stage::train);
  EXPECT_TRUE(again.equal(poisoned.data->images(rows)));
}

TEST_F(WrittenSet, CarriesTheArtifactsOfItsAttack) {
  write_grey_png(folder / "kitty.png", 2, 2, {0, 50, 100, 150});
  AttackSpec spec;
  spec.name = "blended";
  spec.options = {{"image", (folder / "kitty.png").string()}};
  const DatasetPtr clean = clean_set();
  const PoisonedDataset poisoned = poison(clean, "photos", spec, folder / "work" / "artifacts");
  write_poisoned_dataset(out, poisoned);
  fs::remove(folder / "kitty.png");
  fs::remove_all(folder / "work");
  fs::rename(out, folder / "moved");

  const Manifest manifest = read_manifest(folder / "moved" / "truth" / "manifest.json");
  EXPECT_EQ(manifest.artifacts, folder / "moved" / "truth" / "artifacts");
  const at::Tensor rows = at::nonzero(manifest.poisoned()).flatten();
  const at::Tensor again = attack_of(manifest)->apply(
      clean->images(rows), rows, manifest.true_labels.index_select(0, rows), Stage::train);
  EXPECT_TRUE(again.equal(poisoned.data->images(rows)));
}

TEST_F(WrittenSet, CanBePoisonedInPlace) {
  write_grey_png(folder / "kitty.png", 2, 2, {0, 50, 100, 150});
  AttackSpec spec;
  spec.name = "blended";
  spec.options = {{"image", (folder / "kitty.png").string()}};
  const DatasetPtr clean = clean_set();
  const PoisonedDataset poisoned = poison_to(out, clean, "photos", spec);
  fs::remove(folder / "kitty.png");

  EXPECT_THAT(names_in(folder), ElementsAre("out"));
  EXPECT_THAT(names_in(out / "truth" / "artifacts"), ElementsAre("picture.png"));
  const Manifest manifest = read_manifest(out / "truth" / "manifest.json");
  EXPECT_EQ(manifest.artifacts, out / "truth" / "artifacts");
  EXPECT_EQ(poisoned.manifest.artifacts, manifest.artifacts);
  EXPECT_EQ(poisoned.manifest.sha256, manifest.sha256);
  EXPECT_TRUE(all_of(open_dataset(out.string(), Split::train))
                  .equal(all_of(poison(clean, "photos", manifest.attack, *attack_of(manifest)).data)));
}

TEST_F(WrittenSet, HasNoArtifactsFolderWithoutArtifacts) {
  const PoisonedDataset poisoned = poison_to(out, clean_set(), "photos", badnets(0.25));
  EXPECT_THAT(names_in(out / "truth"), ElementsAre("manifest.json"));
  EXPECT_TRUE(poisoned.manifest.artifacts.empty());
  EXPECT_TRUE(all_of(open_dataset(out.string(), Split::train)).equal(all_of(poisoned.data)));
}

TEST_F(WrittenSet, IsNotWrittenOverAnother) {
  fs::create_directories(out);
  write_file_atomically(out / "notes.txt", "mine");
  expect_error(ErrorKind::usage, "out",
               [&] { write_poisoned_dataset(out, poison(clean_set(), "photos", badnets(0))); });
  expect_error(ErrorKind::usage, "out", [&] { poison_to(out, clean_set(), "photos", badnets(0)); });
  EXPECT_THAT(names_in(out), UnorderedElementsAre("notes.txt"));
}

TEST_F(WrittenSet, IsCompleteOrAbsent) {
  const PoisonedDataset poisoned = poison(clean_set(), "photos", badnets(0.5));
  set_interrupt_requested(true);
  expect_error(ErrorKind::interrupted, "writing", [&] { write_poisoned_dataset(out, poisoned); });
  set_interrupt_requested(false);
  EXPECT_TRUE(names_in(folder).empty());
}

TEST_F(WrittenSet, ReportsArtifactsThatAreGone) {
  PoisonedDataset poisoned = poison(clean_set(), "photos", badnets(0.5));
  poisoned.manifest.artifacts = folder / "gone";
  expect_error(ErrorKind::io, "gone", [&] { write_poisoned_dataset(out, poisoned); });
  EXPECT_TRUE(names_in(folder).empty());
}

struct ManifestFile : InFolder {
  fs::path path = folder / "manifest.json";
  Json valid;

  void SetUp() override {
    InFolder::SetUp();
    AttackSpec spec = badnets(0.25);
    Manifest manifest = poison(clean_set(8), "photos", spec).manifest;
    manifest.sha256.assign(8, std::string(64, 'a'));
    write_manifest(path, manifest);
    valid = read_json(path);
  }

  std::size_t first(const std::string& role) const {
    std::size_t at = 0;
    while (valid["samples"][at]["role"] != role) ++at;
    return at;
  }
};

TEST_F(ManifestFile, ReadsBackInMemorySets) {
  Manifest manifest = read_manifest(path);
  manifest.sha256.clear();
  write_manifest(path, manifest);
  const Manifest back = read_manifest(path);
  EXPECT_TRUE(back.sha256.empty());
  EXPECT_EQ(back.paths, manifest.paths);
}

TEST_F(ManifestFile, ReadsBackWhatHasNoTargetRate) {
  for (const double rate : {0.0, 1.0}) {
    const Manifest manifest =
        poison(clean_set(8), "photos", badnets(rate, {{"target-mode", "all-to-all"}})).manifest;
    write_manifest(path, manifest);
    EXPECT_TRUE(read_json(path).at("rates").at("target_class").is_null());
    EXPECT_EQ(read_manifest(path).rate_of_whole_set(), rate);
  }
}

TEST_F(ManifestFile, StatesBothRates) {
  const Manifest manifest = read_manifest(path);
  EXPECT_EQ(valid["rates"]["whole_set"], 0.25);
  EXPECT_EQ(valid["rates"]["target_class"], manifest.rate_of_target_class());
  EXPECT_EQ(valid["attack"]["rate"], 0.25);
  EXPECT_EQ(valid["attack"]["rate_of"], "whole_set");
}

TEST_F(ManifestFile, HasOneLineForEachSample) {
  const std::string text = read_file(path, 1 << 20);
  EXPECT_THAT(text, testing::HasSubstr("\n    {\"path\":\"images/000/000007.png\",\"role\":"));
}

TEST_F(ManifestFile, IgnoresUnknownKeys) {
  valid["remark"] = "none";
  valid["samples"][0]["remark"] = "none";
  write_json(path, valid);
  EXPECT_NO_THROW(read_manifest(path));
}

TEST_F(ManifestFile, WithAnyMalformedFieldIsRefused) {
  const std::size_t clean = first("clean");
  const std::size_t poison_at = first("poison");
  const std::string in_clean = "sample " + std::to_string(clean);
  using Change = std::function<void(Json&)>;
  const std::vector<std::pair<std::string, Change>> cases{
      {"'schema'", [](Json& m) { m.erase("schema"); }},
      {"mcci.manifest/2", [](Json& m) { m["schema"] = "mcci.manifest/2"; }},
      {"'schema'", [](Json& m) { m = Json::array(); }},
      {"'attack'", [](Json& m) { m.erase("attack"); }},
      {"object", [](Json& m) { m["attack"] = 3; }},
      {"'rate'", [](Json& m) { m["attack"]["rate"] = 2; }},
      {"'rate_of'", [](Json& m) { m["attack"]["rate_of"] = "half"; }},
      {"'seed'", [](Json& m) { m["attack"]["seed"] = -1; }},
      {"'source'", [](Json& m) { m["source"] = 5; }},
      {"'shape'", [](Json& m) { m.erase("shape"); }},
      {"'shape'",
       [](Json& m) {
         m["shape"] = {3, 32};
       }},
      {"'shape'",
       [](Json& m) {
         m["shape"] = {2, 32, 32};
       }},
      {"'shape'",
       [](Json& m) {
         m["shape"] = {3, 0, 32};
       }},
      {"'shape'",
       [](Json& m) {
         m["shape"] = {3, 32, 1 << 20};
       }},
      {"'shape'",
       [](Json& m) {
         m["shape"] = {3, 32.5, 32};
       }},
      {"'classes'",
       [](Json& m) {
         m["classes"] = {1, 2};
       }},
      {"'classes'", [](Json& m) { m.erase("classes"); }},
      {"none of the 2 classes",
       [](Json& m) {
         m["classes"] = {"ant", "bee"};
       }},
      {"'samples'", [](Json& m) { m.erase("samples"); }},
      {"'samples'", [](Json& m) { m["samples"] = "many"; }},
      {"'count'", [](Json& m) { m.erase("count"); }},
      {"'count'", [](Json& m) { m["count"] = 9; }},
      {"'rates'", [](Json& m) { m.erase("rates"); }},
      {"'whole_set'", [](Json& m) { m["rates"]["whole_set"] = 0.2; }},
      {"'whole_set'", [](Json& m) { m["rates"].erase("whole_set"); }},
      {"'target_class'", [](Json& m) { m["rates"]["target_class"] = nullptr; }},
      {"'target_class'", [](Json& m) { m["rates"]["target_class"] = 0.01; }},
      {"'artifacts'", [](Json& m) { m["artifacts"] = "../elsewhere"; }},
      {"'artifacts'", [](Json& m) { m["artifacts"] = "/etc"; }},
      {"'artifacts'", [](Json& m) { m["artifacts"] = ""; }},
      {"'artifacts'", [](Json& m) { m["artifacts"] = 1; }},
      {"sample 0", [](Json& m) { m["samples"][0] = 7; }},
      {"sample 7", [](Json& m) { m["samples"][7].erase("path"); }},
      {"'path'", [](Json& m) { m["samples"][0]["path"] = "../x.png"; }},
      {"'path'", [](Json& m) { m["samples"][0]["path"] = "/x.png"; }},
      {"'path'", [](Json& m) { m["samples"][0]["path"] = ""; }},
      {"clean, poison or cover", [](Json& m) { m["samples"][0]["role"] = "dirty"; }},
      {"'role'", [](Json& m) { m["samples"][0]["role"] = 0; }},
      {"'true_label'", [](Json& m) { m["samples"][0]["true_label"] = 4; }},
      {"'true_label'", [](Json& m) { m["samples"][0].erase("true_label"); }},
      {"'recorded_label'", [=](Json& m) { m["samples"][poison_at]["recorded_label"] = -1; }},
      {"'recorded_label'", [=](Json& m) { m["samples"][poison_at]["recorded_label"] = 1.0; }},
      {in_clean,
       [=](Json& m) {
         const auto label = m["samples"][clean]["true_label"].get<int>();
         m["samples"][clean]["recorded_label"] = (label + 1) % 4;
       }},
      {"only a sample of the role poison",
       [=](Json& m) {
         m["samples"][clean]["role"] = "cover";
         m["samples"][clean]["recorded_label"] = (m["samples"][clean]["true_label"].get<int>() + 1) % 4;
       }},
      {"'whole_set'", [=](Json& m) { m["samples"][clean]["role"] = "poison"; }},
      {"'sha256'", [](Json& m) { m["samples"][0]["sha256"] = std::string(63, 'a'); }},
      {"'sha256'", [](Json& m) { m["samples"][0]["sha256"] = std::string(64, 'G'); }},
      {"either all samples or none", [](Json& m) { m["samples"][0].erase("sha256"); }},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    Json changed = valid;
    cases[i].second(changed);
    write_json(path, changed);
    expect_error(ErrorKind::data, cases[i].first, [&] { read_manifest(path); });
    expect_error(ErrorKind::data, path.string(), [&] { read_manifest(path); });
  }
}

TEST_F(ManifestFile, ThatIsCutOrMissingIsRefused) {
  write_file_atomically(path, read_file(path, 1 << 20).substr(0, 700));
  expect_error(ErrorKind::data, path.string(), [&] { read_manifest(path); });
  fs::remove(path);
  expect_error(ErrorKind::io, path.string(), [&] { read_manifest(path); });
}

TEST_F(ManifestFile, CannotHoldNamesThatAreNoText) {
  Manifest manifest = read_manifest(path);
  manifest.classes[0] = "\xff\xfe";
  expect_error(ErrorKind::data, "UTF-8", [&] { write_manifest(path, manifest); });
  EXPECT_NO_THROW(read_manifest(path));
}

TEST_F(ManifestFile, CannotNameArtifactsElsewhere) {
  Manifest manifest = read_manifest(path);
  manifest.artifacts = folder.parent_path();
  expect_error(ErrorKind::internal, "below", [&] { write_manifest(path, manifest); });
}

}  // namespace
}  // namespace mcci
