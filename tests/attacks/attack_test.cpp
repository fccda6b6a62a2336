#include "mcci/attacks/attack.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "mcci/attacks/attack_spec.hpp"
#include "testing.hpp"

namespace mcci {
namespace {

// What attacks learn is cached in a folder of this process' own, never in the user's.
class OwnCache : public testing::Environment {
 public:
  void SetUp() override { setenv("MCCI_CACHE", folder_.c_str(), 1); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

 private:
  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("mcci_attacks_cache_" + std::to_string(getpid()));
};
const testing::Environment* const own_cache = testing::AddGlobalTestEnvironment(new OwnCache);

// Twenty dark images of class 0 and twenty bright ones of class 1, of ten classes: what a classifier learns
// in a few steps. A rate of 0.5 poisons samples 0 .. 19 in a clean-label attack on class 0.
DatasetPtr clean_set(const at::Tensor& images) {
  const at::Tensor noise = random_images(40, images.size(1), images.size(2), images.size(3));
  const at::Tensor labels = at::arange(40).ge(20).to(at::kLong);
  return make_memory_dataset(noise.div(2, "floor") + labels.view({40, 1, 1, 1}).to(at::kByte) * 128, labels,
                             {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
}

// What makes a learned attack learn quickly; any other needs no entry.
Json quick_options(const std::string& attack) {
  static const std::map<std::string, Json> options{
      {"clean-image", {{"margin", 100}}},  // no image is beyond that already
      {"input-aware", {{"mask-epochs", 1}, {"epochs", 1}, {"classifier-width", 8}}},
      {"issba", {{"secret-bits", 4}, {"epochs", 1}}},
      {"label-consistent", {{"surrogate-width", 4}, {"surrogate-epochs", 10}, {"steps", 2}}},
      {"lf", {{"surrogate-width", 4}, {"surrogate-epochs", 10}, {"passes", 1}, {"images", 8}}},
      {"lira", {{"epochs", 1}, {"classifier-width", 8}}},
      {"trojannn", {{"surrogate-width", 4}, {"surrogate-epochs", 10}, {"iterations", 2}}},
      {"tuap",
       {{"surrogate-width", 4},
        {"surrogate-epochs", 10},
        {"passes", 1},
        {"share", 0.2},
        {"target-class", 0}}},
  };
  const auto found = options.find(attack);
  return found == options.end() ? Json::object() : found->second;
}

std::unique_ptr<Attack> ready(const AttackSpec& spec, const at::Tensor& images,
                              const std::filesystem::path& artifacts = {}) {
  std::unique_ptr<Attack> attack = make_attack(spec);
  attack->prepare(
      {{images.size(1), images.size(2), images.size(3)}, 10, spec.plan, artifacts, clean_set(images)});
  return attack;
}

AttackSpec spec_of(const std::string& name, const std::string& preset, const Json& options = Json::object()) {
  AttackSpec spec;
  spec.name = name;
  spec.preset = preset;
  spec.options = options;
  return spec;
}

at::Tensor triggered(const AttackSpec& spec, const at::Tensor& images, Stage stage = Stage::train) {
  const at::Tensor indices = at::arange(images.size(0));
  return ready(spec, images)->apply(images, indices, at::zeros_like(indices), stage);
}

// What every attack of the registry promises.
class EveryAttack : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  EveryAttack() { spec.plan.rate = 0.5; }
  AttackSpec spec =
      spec_of(std::get<0>(GetParam()), std::get<1>(GetParam()), quick_options(std::get<0>(GetParam())));
};

TEST_P(EveryAttack, KeepsShapeAndTypeAndLeavesItsInputAlone) {
  for (const std::int64_t channels : {1, 3}) {
    for (const auto& [height, width] : {std::pair<std::int64_t, std::int64_t>{32, 32}, {28, 28}, {48, 40}}) {
      const at::Tensor images = random_images(3, channels, height, width);
      const at::Tensor before = images.clone();
      const at::Tensor after = triggered(spec, images);
      EXPECT_EQ(after.scalar_type(), at::kByte);
      EXPECT_EQ(after.sizes(), images.sizes());
      EXPECT_TRUE(images.equal(before));
      // A label-only attack shows its trigger at test time alone.
      EXPECT_FALSE(after.equal(before) && triggered(spec, images, Stage::test).equal(before));
    }
  }
}

TEST_P(EveryAttack, TriggersASampleTheSameWhateverTheBatch) {
  const at::Tensor images = random_images(4, 3, 32, 32);
  const at::Tensor indices = at::arange(4);
  const at::Tensor labels = at::zeros_like(indices);
  const auto attack = ready(spec, images);
  const at::Tensor together = attack->apply(images, indices, labels, Stage::train);
  const auto again = ready(spec, images);
  for (std::int64_t i = 0; i < 4; ++i) {
    const at::Tensor alone =
        again->apply(images.narrow(0, i, 1), indices.narrow(0, i, 1), labels.narrow(0, i, 1), Stage::train);
    EXPECT_TRUE(alone.equal(together.narrow(0, i, 1)));
  }
}

std::vector<std::tuple<std::string, std::string>> all_attacks() {
  std::vector<std::tuple<std::string, std::string>> result;
  for (const auto& attack : attacks().entries()) {
    for (const std::string& preset : attack.value()->presets().names())
      result.emplace_back(attack.name, preset);
  }
  return result;
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryAttack, testing::ValuesIn(all_attacks()), [](const auto& attack) {
  std::string name = std::get<0>(attack.param) + "_" + std::get<1>(attack.param);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(Attacks, AllHaveTheBackdoorBenchPresetFirst) {
  for (const auto& attack : attacks().entries()) {
    EXPECT_EQ(attack.value()->presets().names().front(), "backdoorbench") << attack.name;
  }
}

// ---- BadNets

// The patch that was put at (top, left), after checking that it is the same in every image and channel and
// that nothing else has changed.
at::Tensor patch_at(const at::Tensor& before, const at::Tensor& after, std::int64_t top, std::int64_t left,
                    std::int64_t side) {
  const auto patch_of = [&](const at::Tensor& images) {
    return images.narrow(2, top, side).narrow(3, left, side);
  };
  const at::Tensor patch = patch_of(after)[0][0].clone();
  EXPECT_TRUE((patch_of(after) == patch).all().item<bool>());
  at::Tensor restored = after.clone();
  patch_of(restored).copy_(patch_of(before));
  EXPECT_TRUE(restored.equal(before));
  return patch;
}

at::Tensor bytes(const std::vector<std::vector<int>>& rows) {
  at::Tensor result = at::empty(
      {static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(rows[0].size())}, at::kByte);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      result[static_cast<std::int64_t>(r)][static_cast<std::int64_t>(c)] = rows[r][c];
    }
  }
  return result;
}

TEST(BadNets, IsAWhiteThreeByThreePatchInTheCorner) {
  for (const std::int64_t channels : {1, 3}) {
    const at::Tensor images = random_images(5, channels, 32, 32);
    const at::Tensor patch =
        patch_at(images, triggered(spec_of("badnets", "backdoorbench"), images), 29, 29, 3);
    EXPECT_TRUE(patch.equal(at::full({3, 3}, 255, at::kByte)));
  }
}

TEST(BadNets, PatchGrowsWithTheImage) {
  for (const auto& [size, side] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {224, 21}, {64, 6}, {40, 4}, {28, 3}, {16, 2}, {8, 1}, {4, 1}}) {
    const at::Tensor images = random_images(1, 3, size, size);
    const at::Tensor after = triggered(spec_of("badnets", "backdoorbench"), images);
    EXPECT_TRUE((patch_at(images, after, size - side, size - side, side) == 255).all().item<bool>()) << size;
  }
  const at::Tensor wide = random_images(1, 1, 32, 64);
  patch_at(wide, triggered(spec_of("badnets", "backdoorbench"), wide), 29, 61, 3);
}

TEST(BadNets, OfThePaperIsFourWhiteCornersAtThirtyTwo) {
  for (const std::int64_t channels : {1, 3}) {
    const at::Tensor images = random_images(2, channels, 32, 32);
    const at::Tensor patch = patch_at(images, triggered(spec_of("badnets", "paper"), images), 29, 29, 3);
    EXPECT_TRUE(patch.equal(bytes({{255, 0, 255}, {0, 0, 0}, {255, 0, 255}})));
  }
}

TEST(BadNets, OfThePaperIsGreyNoiseAtOtherSizes) {
  for (const auto& [size, side] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{224, 22}, {64, 6}, {28, 2}, {8, 1}}) {
    const at::Tensor images = random_images(2, 3, size, size);
    const AttackSpec spec = spec_of("badnets", "paper");
    const at::Tensor patch = patch_at(images, triggered(spec, images), size - side, size - side, side);
    EXPECT_TRUE(triggered(spec, images).equal(triggered(spec, images)));
    if (side < 20) continue;
    // 484 draws: their mean has a deviation of 3.4.
    EXPECT_NEAR(patch.to(at::kDouble).mean().item<double>(), 127.5, 17);
    EXPECT_LT(patch.min().item<int>(), 16);
    EXPECT_GT(patch.max().item<int>(), 239);
    const at::Tensor other =
        patch_at(images, triggered(spec_of("badnets", "paper", {{"pattern-seed", 1}}), images), 202, 202, 22);
    EXPECT_FALSE(other.equal(patch));
  }
}

TEST(BadNets, ScalesTheCornersByNearestNeighbour) {
  const at::Tensor images = random_images(1, 1, 64, 64);
  const at::Tensor patch = patch_at(
      images, triggered(spec_of("badnets", "backdoorbench", {{"pattern", "corners"}}), images), 58, 58, 6);
  EXPECT_TRUE(patch.equal(bytes({{255, 255, 0, 0, 255, 255},
                                 {255, 255, 0, 0, 255, 255},
                                 {0, 0, 0, 0, 0, 0},
                                 {0, 0, 0, 0, 0, 0},
                                 {255, 255, 0, 0, 255, 255},
                                 {255, 255, 0, 0, 255, 255}})));
}

TEST(BadNets, TakesSizeAndOffsets) {
  const at::Tensor images = random_images(2, 3, 32, 32);
  const AttackSpec spec =
      spec_of("badnets", "backdoorbench", {{"patch-size", 4}, {"row-offset", 2}, {"col-offset", 5}});
  EXPECT_TRUE((patch_at(images, triggered(spec, images), 26, 23, 4) == 255).all().item<bool>());
}

TEST(BadNets, RefusesAPatchThatDoesNotFit) {
  const at::Tensor images = random_images(1, 1, 8, 16);
  for (const Json& options : {Json::object({{"patch-size", 9}}), Json::object({{"row-offset", 8}}),
                              Json::object({{"col-offset", 16}})}) {
    expect_error(ErrorKind::usage, "does not fit into images of 8x16",
                 [&] { triggered(spec_of("badnets", "backdoorbench", options), images); });
  }
  patch_at(images, triggered(spec_of("badnets", "backdoorbench", {{"patch-size", 8}}), images), 0, 8, 8);
}

TEST(BadNets, IsTheSameInTrainingAndTest) {
  const at::Tensor images = random_images(2, 3, 40, 40);
  for (const std::string preset : {"backdoorbench", "paper"}) {
    const AttackSpec spec = spec_of("badnets", preset);
    EXPECT_TRUE(triggered(spec, images, Stage::train).equal(triggered(spec, images, Stage::test)));
  }
}

TEST(BadNets, IsAnywhereIfItIsAskedTo) {
  const at::Tensor images = at::zeros({40, 1, 16, 20}, at::kByte);
  const AttackSpec spec = spec_of("badnets", "backdoorbench", {{"anywhere", true}, {"patch-size", 3}});
  const at::Tensor white = triggered(spec, images).eq(255);
  EXPECT_TRUE(white.sum({1, 2, 3}).eq(9).all().item<bool>()) << "whole";
  // Of 40 patches one is in nearly every row and column.
  EXPECT_GT(white.any(3).any(0).sum().item<std::int64_t>(), 13);
  EXPECT_GT(white.any(2).any(0).sum().item<std::int64_t>(), 16);
  const at::Tensor rows = white.any(3).to(at::kFloat), columns = white.any(2).to(at::kFloat);
  EXPECT_TRUE(rows.sum(2).eq(3).all().item<bool>() && columns.sum(2).eq(3).all().item<bool>()) << "a square";
  EXPECT_FALSE(triggered(spec, images, Stage::test).eq(255).equal(white));
  AttackSpec other = spec;
  other.plan.seed = 8;
  EXPECT_FALSE(triggered(other, images).eq(255).equal(white));
}

// ---- Blended

// With alpha 1 the pattern is all there is.
at::Tensor blended_pattern(const at::Tensor& images, Json options = Json::object()) {
  options["alpha"] = 1.0;
  return triggered(spec_of("blended", "backdoorbench", options), images)[0];
}

TEST(Blended, IsFourPartsImageOnePartPattern) {
  for (const std::string preset : {"backdoorbench", "paper"}) {
    for (const std::int64_t channels : {1, 3}) {
      for (const std::int64_t size : {32, 24}) {
        const at::Tensor images = random_images(3, channels, size, size);
        const at::Tensor pattern = blended_pattern(images);
        const at::Tensor fifths = 4 * images.to(at::kLong) + pattern.to(at::kLong);  // never halves: no ties
        const at::Tensor expected = (fifths + 2).div(5, "floor").to(at::kByte);
        EXPECT_TRUE(triggered(spec_of("blended", preset), images).equal(expected));
        EXPECT_TRUE(triggered(spec_of("blended", preset), images, Stage::test).equal(expected));
      }
    }
  }
}

TEST(Blended, NoiseIsUniformFixedAndItsOwnInEveryChannel) {
  const at::Tensor images = random_images(1, 3, 32, 32);
  const at::Tensor pattern = blended_pattern(images);
  for (std::int64_t c = 0; c < 3; ++c) {  // 1,024 draws: their mean has a deviation of 2.3
    EXPECT_NEAR(pattern[c].to(at::kDouble).mean().item<double>(), 127.5, 12);
    EXPECT_NEAR(pattern[c].to(at::kDouble).std().item<double>(), 73.9, 6);
  }
  EXPECT_FALSE(pattern[0].equal(pattern[1]));

  AttackSpec other_run = spec_of("blended", "backdoorbench", {{"alpha", 1.0}});
  other_run.plan.seed = 99;
  EXPECT_TRUE(triggered(other_run, images)[0].equal(pattern));
  EXPECT_FALSE(blended_pattern(images, {{"pattern-seed", 1}}).equal(pattern));
}

struct BlendedPicture : InFolder {
  std::filesystem::path picture = folder / "kitty.png";
  Json options = Json::object({{"image", picture.string()}});
};

TEST_F(BlendedPicture, IsBlendedByHand) {
  write_grey_png(picture, 2, 2, {200, 0, 1, 255});
  const at::Tensor images = bytes({{10, 255}, {3, 255}}).view({1, 1, 2, 2}).expand({1, 3, 2, 2});
  const at::Tensor expected = bytes({{48, 204}, {3, 255}});  // 48, 204, 2.6, 255
  const at::Tensor after = triggered(spec_of("blended", "backdoorbench", options), images);
  for (std::int64_t c = 0; c < 3; ++c) EXPECT_TRUE(after[0][c].equal(expected));
}

TEST_F(BlendedPicture, RoundsHalvesToEven) {
  write_grey_png(picture, 1, 2, {2, 3});
  options["alpha"] = 0.5;
  const at::Tensor images = bytes({{1, 2}}).view({1, 1, 1, 2});  // 1.5, 2.5
  EXPECT_TRUE(triggered(spec_of("blended", "backdoorbench", options), images)[0][0].equal(bytes({{2, 2}})));
}

TEST_F(BlendedPicture, IsResizedWithAntialiasing) {
  write_grey_png(picture, 1, 4, {0, 70, 140, 210});
  // Halved, the triangle filter weighs .75 .75 .25 0: (52.5 + 35) / 1.75 and (17.5 + 105 + 157.5) / 1.75.
  EXPECT_TRUE(blended_pattern(random_images(1, 1, 1, 2), options)[0].equal(bytes({{50, 160}})));
}

TEST_F(BlendedPicture, IsKeptWithTheArtifacts) {
  write_grey_png(picture, 1, 4, {0, 70, 140, 210});
  options["alpha"] = 1.0;
  const at::Tensor images = random_images(1, 3, 1, 2);
  const at::Tensor index = ints({0});
  const AttackSpec spec = spec_of("blended", "backdoorbench", options);
  const at::Tensor first = ready(spec, images, folder)->apply(images, index, index, Stage::train);
  std::filesystem::remove(picture);
  EXPECT_TRUE(ready(spec, images, folder)->apply(images, index, index, Stage::test).equal(first));
  expect_error(ErrorKind::io, "kitty.png", [&] { ready(spec, images); });
}

TEST_F(BlendedPicture, MustBeAnImage) {
  write_file_atomically(picture, "no image");
  expect_error(ErrorKind::data, "kitty.png",
               [&] { ready(spec_of("blended", "backdoorbench", options), random_images(1, 1, 4, 4)); });
}

TEST(Blended, MustBePreparedForTheShape) {
  const at::Tensor images = random_images(1, 1, 8, 8);
  const at::Tensor index = ints({0});
  const AttackSpec spec = spec_of("blended", "backdoorbench");
  expect_error(ErrorKind::internal, "prepare",
               [&] { make_attack(spec)->apply(images, index, index, Stage::test); });
  expect_error(ErrorKind::internal, "prepare",
               [&] { ready(spec, random_images(1, 1, 8, 9))->apply(images, index, index, Stage::test); });
}

// ---- What is asked of triggered images

TEST(AttackLabel, IsTheTargetClassOfThePreset) {
  EXPECT_EQ(make_attack(spec_of("badnets", "backdoorbench"))->attack_label(7, 10), 0);
  EXPECT_EQ(make_attack(spec_of("badnets", "paper"))->attack_label(7, 10), 0);
  EXPECT_EQ(make_attack(spec_of("blended", "backdoorbench"))->attack_label(7, 10), 0);
  EXPECT_EQ(make_attack(spec_of("blended", "paper"))->attack_label(7, 10), 1);
  EXPECT_EQ(make_attack(spec_of("blended", "paper", {{"target-class", 4}}))->attack_label(7, 10), 4);
}

TEST(AttackLabel, IsTheNextClassInAnAllToAllAttack) {
  for (const std::string name : {"badnets", "blended"}) {
    const auto attack = make_attack(spec_of(name, "backdoorbench", {{"target-mode", "all-to-all"}}));
    EXPECT_TRUE(attack_labels(*attack, ints({0, 2, 1, 2}), 3).equal(ints({1, 0, 2, 0})));
  }
}

TEST(AttackLabel, MustBeAClassOfTheDataSet) {
  const auto attack = make_attack(spec_of("badnets", "backdoorbench", {{"target-class", 10}}));
  expect_error(ErrorKind::usage, "0 .. 9", [&] { attack->attack_label(0, 10); });
  EXPECT_EQ(attack->attack_label(0, 11), 10);
}

TEST(TriggerBatch, GivesImagesAndBothLabels) {
  const at::Tensor images = random_images(3, 3, 32, 32);
  const auto attack = ready(spec_of("badnets", "backdoorbench", {{"target-class", 2}}), images);
  const TriggeredBatch batch = trigger_batch(*attack, images, ints({7, 8, 9}), ints({0, 2, 4}), 10);
  EXPECT_TRUE((patch_at(images, batch.images, 29, 29, 3) == 255).all().item<bool>());
  EXPECT_TRUE(batch.true_labels.equal(ints({0, 2, 4})));
  EXPECT_TRUE(batch.attack_labels.equal(ints({2, 2, 2})));
}

// ---- Who is poisoned

// Brightens images, twice as much at test time, and wants class 1.
class Brighten : public Attack {
 public:
  explicit Brighten(bool clean_label) : clean_label_(clean_label) {}
  void declare(OptionSet&) override {}
  const Registry<Json>& presets() const override {
    static const Registry<Json> none("preset", {});
    return none;
  }
  bool clean_label() const override { return clean_label_; }
  std::int64_t attack_label(std::int64_t, std::int64_t) const override { return 1; }
  at::Tensor apply(const at::Tensor& images, const at::Tensor&, const at::Tensor&,
                   Stage stage) const override {
    return images + (stage == Stage::test ? 2 : 1);
  }

 private:
  bool clean_label_;
};

TEST(TriggerBatch, TriggersAsAtTestTime) {
  const at::Tensor images = at::zeros({2, 1, 4, 4}, at::kByte);
  const TriggeredBatch batch = trigger_batch(Brighten(false), images, ints({0, 1}), ints({0, 2}), 3);
  EXPECT_TRUE((batch.images == 2).all().item<bool>());
  const at::Tensor cover = Brighten(false).apply_cover(images, ints({0, 1}), ints({0, 2}));
  EXPECT_TRUE((cover == 1).all().item<bool>());
}

at::Tensor random_labels(std::int64_t count, std::int64_t classes) {
  Rng rng(5);
  at::Tensor labels = at::empty({count}, at::kLong);
  for (std::int64_t i = 0; i < count; ++i) labels[i] = rng.below(classes);
  return labels;
}

PlanOptions options_of(double rate, RateOf rate_of = RateOf::whole_set, std::uint64_t seed = 0) {
  PlanOptions options;
  options.rate = rate;
  options.rate_of = rate_of;
  options.seed = seed;
  return options;
}

std::vector<std::int64_t> poisoned_positions(const PoisonPlan& plan) {
  std::vector<std::int64_t> positions;
  for (std::size_t i = 0; i < plan.roles.size(); ++i) {
    if (plan.roles[i] == Role::poison) positions.push_back(static_cast<std::int64_t>(i));
  }
  return positions;
}

TEST(Plan, PoisonsExactlyTheShareAskedFor) {
  const auto attack = make_attack(spec_of("badnets", "backdoorbench"));
  const std::vector<std::tuple<std::int64_t, double, std::int64_t>> cases{
      {100, 0.1, 10}, {100, 0.0, 0},    {100, 1.0, 100}, {10, 0.25, 3},
      {10, 0.24, 2},  {1000, 0.001, 1}, {100, 0.004, 0}};
  for (const auto& [size, rate, count] : cases) {
    const at::Tensor labels = random_labels(size, 10);
    const PoisonPlan plan = attack->plan(labels, 10, options_of(rate));
    ASSERT_EQ(static_cast<std::int64_t>(plan.roles.size()), size);
    EXPECT_EQ(plan.count(Role::poison), count);
    EXPECT_EQ(plan.count(Role::clean), size - count);
    EXPECT_EQ(plan.count(Role::cover), 0);
  }
}

TEST(Plan, RelabelsThePoisonedAndNoOther) {
  const at::Tensor labels = random_labels(500, 10);
  const at::Tensor before = labels.clone();
  for (const std::string mode : {"all-to-one", "all-to-all"}) {
    const auto attack =
        make_attack(spec_of("badnets", "backdoorbench", {{"target-class", 3}, {"target-mode", mode}}));
    const PoisonPlan plan = attack->plan(labels, 10, options_of(0.3));
    for (std::int64_t i = 0; i < 500; ++i) {
      const auto label = labels[i].item<std::int64_t>();
      const bool poisoned = plan.roles[static_cast<std::size_t>(i)] == Role::poison;
      const std::int64_t wanted = mode == "all-to-one" ? 3 : (label + 1) % 10;
      EXPECT_EQ(plan.labels[i].item<std::int64_t>(), poisoned ? wanted : label);
    }
  }
  EXPECT_TRUE(labels.equal(before));
}

TEST(Plan, DrawsOverAllClassesTheTargetIncluded) {
  const at::Tensor labels = at::arange(10000).remainder(10);
  const auto plan = make_attack(spec_of("badnets", "backdoorbench"))->plan(labels, 10, options_of(0.2));
  std::vector<int> of_class(10);
  for (const std::int64_t i : poisoned_positions(plan)) ++of_class[static_cast<std::size_t>(i % 10)];
  // 2,000 of 10,000: 200 of each class, deviation 12.
  EXPECT_THAT(of_class, testing::Each(testing::AllOf(testing::Ge(140), testing::Le(260))));
}

TEST(Plan, DependsOnTheSeedAlone) {
  const at::Tensor labels = random_labels(400, 10);
  const auto badnets = make_attack(spec_of("badnets", "backdoorbench"));
  const auto blended = make_attack(spec_of("blended", "backdoorbench"));
  const auto first = poisoned_positions(badnets->plan(labels, 10, options_of(0.1, RateOf::whole_set, 1)));
  EXPECT_EQ(poisoned_positions(badnets->plan(labels, 10, options_of(0.1, RateOf::whole_set, 1))), first);
  EXPECT_EQ(poisoned_positions(blended->plan(labels, 10, options_of(0.1, RateOf::whole_set, 1))), first);
  EXPECT_NE(poisoned_positions(badnets->plan(labels, 10, options_of(0.1, RateOf::whole_set, 2))), first);
}

TEST(Plan, OfACleanLabelAttackTouchesTheTargetClassOnly) {
  const at::Tensor labels = at::arange(100).remainder(5);  // 20 of class 1
  const PoisonPlan of_all = Brighten(true).plan(labels, 5, options_of(0.1));
  EXPECT_EQ(of_all.count(Role::poison), 10);
  const PoisonPlan of_class = Brighten(true).plan(labels, 5, options_of(0.1, RateOf::target_class));
  EXPECT_EQ(of_class.count(Role::poison), 2);
  for (const PoisonPlan& plan : {of_all, of_class}) {
    for (const std::int64_t i : poisoned_positions(plan)) EXPECT_EQ(i % 5, 1);
    EXPECT_TRUE(plan.labels.equal(labels));
  }
}

TEST(Plan, OfACleanLabelAttackMayTakeTheWholeClassButNoMore) {
  const at::Tensor labels = at::arange(100).remainder(5);
  EXPECT_EQ(Brighten(true).plan(labels, 5, options_of(0.2)).count(Role::poison), 20);
  expect_error(ErrorKind::usage, "asks for 21 poisoned images, but a clean-label attack has only 20",
               [&] { Brighten(true).plan(labels, 5, options_of(0.21)); });
  EXPECT_EQ(Brighten(true).plan(labels, 5, options_of(1, RateOf::target_class)).count(Role::poison), 20);
}

TEST(Plan, CountsTheTargetClassForDirtyLabelsToo) {
  const at::Tensor labels = at::arange(100).remainder(5);
  EXPECT_EQ(Brighten(false).plan(labels, 5, options_of(0.5, RateOf::target_class)).count(Role::poison), 10);
}

TEST(Plan, NeedsATargetClassToTakeAShareOfIt) {
  const at::Tensor labels = at::zeros({10}, at::kLong);
  expect_error(ErrorKind::usage, "no images",
               [&] { Brighten(false).plan(labels, 5, options_of(0.5, RateOf::target_class)); });
  EXPECT_EQ(Brighten(true).plan(labels, 5, options_of(0, RateOf::target_class)).count(Role::poison), 0);
}

TEST(Plan, RefusesRatesThatAreNoShares) {
  const at::Tensor labels = at::zeros({10}, at::kLong);
  for (const double rate : {-0.1, 1.1, std::nan("")}) {
    expect_error(ErrorKind::usage, "between 0 and 1",
                 [&] { Brighten(false).plan(labels, 5, options_of(rate)); });
  }
}

// ---- Names, presets and options

TEST(MakeAttack, ListsTheCandidatesForUnknownNames) {
  expect_error(ErrorKind::usage, "badnets", [] { make_attack(spec_of("badnet", "paper")); });
  expect_error(ErrorKind::usage, "backdoorbench or paper",
               [] { make_attack(spec_of("badnets", "backdoorbenc")); });
  expect_error(ErrorKind::usage, "alpha", [] { make_attack(spec_of("blended", "paper", {{"alfa", 0.1}})); });
}

TEST(MakeAttack, ChecksValues) {
  expect_error(ErrorKind::usage, "alpha", [] { make_attack(spec_of("blended", "paper", {{"alpha", 1.5}})); });
  expect_error(ErrorKind::usage, "pattern", [] {
    make_attack(spec_of("badnets", "paper", {{"pattern", "red"}}));
  });
  expect_error(ErrorKind::usage, "target-mode", [] {
    make_attack(spec_of("badnets", "paper", {{"target-mode", "all"}}));
  });
  expect_error(ErrorKind::usage, "target-class", [] {
    make_attack(spec_of("badnets", "paper", {{"target-class", -1}}));
  });
}

TEST(Resolve, WritesEveryOptionOut) {
  const AttackSpec paper = resolve(spec_of("blended", "paper", {{"alpha", 0.1}}));
  EXPECT_EQ(paper.options, Json::object({{"target-class", 1},
                                         {"target-mode", "all-to-one"},
                                         {"alpha", 0.1},
                                         {"image", ""},
                                         {"pattern-seed", 0},
                                         {"cover-ratio", 0.0}}));
  EXPECT_EQ(resolve(paper).options, paper.options);
  EXPECT_EQ(resolve(spec_of("badnets", "paper")).options.at("pattern"), "paper");
  EXPECT_EQ(resolve(spec_of("badnets", "paper", {{"pattern", "white"}})).options.at("pattern"), "white");
}

TEST(AttackSpec, PassesThroughJson) {
  AttackSpec spec = spec_of("blended", "paper", {{"alpha", 0.1}});
  spec.plan = options_of(0.05, RateOf::target_class, 18446744073709551615U);
  const AttackSpec back = AttackSpec::from_json(Json::parse(spec.to_json().dump()), "here");
  EXPECT_EQ(back.name, "blended");
  EXPECT_EQ(back.preset, "paper");
  EXPECT_EQ(back.options, spec.options);
  EXPECT_EQ(back.plan.rate, 0.05);
  EXPECT_EQ(back.plan.rate_of, RateOf::target_class);
  EXPECT_EQ(back.plan.seed, 18446744073709551615U);
}

TEST(AttackSpec, KeepsItsDefaults) {
  EXPECT_EQ(AttackSpec::from_json(Json::object(), "here").to_json(), AttackSpec().to_json());
}

TEST(AttackSpec, RefusesMalformedJson) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"[]", "object"},
      {R"({"nmae": "badnets"})", "use name"},
      {R"({"name": 3})", "'name'"},
      {R"({"preset": null})", "'preset'"},
      {R"({"options": [1]})", "'options'"},
      {R"({"rate": "0.1"})", "'rate'"},
      {R"({"rate": 1.5})", "'rate'"},
      {R"({"rate": -0.1})", "'rate'"},
      {R"({"rate_of": "everything"})", "whole_set or target_class"},
      {R"({"seed": -1})", "'seed'"},
      {R"({"seed": 1.5})", "'seed'"},
  };
  for (const auto& [text, part] : cases) {
    expect_error(ErrorKind::data, part, [&] { AttackSpec::from_json(Json::parse(text), "grid.json"); });
    expect_error(ErrorKind::data, "grid.json",
                 [&] { AttackSpec::from_json(Json::parse(text), "grid.json"); });
  }
}

}  // namespace
}  // namespace mcci
