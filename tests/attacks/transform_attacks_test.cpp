// The attacks that transform an image and learn nothing: BppAttack, CTRL, FTrojan, SIG, WaNet, noise of a
// band; and cover samples.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "mcci/attacks/attack_spec.hpp"
#include "mcci/attacks/covers.hpp"
#include "mcci/attacks/poisoned_dataset.hpp"
#include "mcci/attacks/spectral_trigger.hpp"
#include "mcci/attacks/wanet.hpp"
#include "mcci/signal/dct.hpp"
#include "testing.hpp"

namespace mcci {
namespace {

AttackSpec spec_of(const std::string& name, const std::string& preset, const Json& options = Json::object()) {
  AttackSpec spec;
  spec.name = name;
  spec.preset = preset;
  spec.options = options;
  return spec;
}

std::unique_ptr<Attack> ready(const AttackSpec& spec, const ImageShape& shape, DatasetPtr train = nullptr) {
  std::unique_ptr<Attack> attack = make_attack(spec);
  attack->prepare({shape, 10, spec.plan, {}, std::move(train)});
  return attack;
}

at::Tensor triggered(const AttackSpec& spec, const at::Tensor& images, Stage stage = Stage::train) {
  const at::Tensor indices = at::arange(images.size(0));
  const auto attack = ready(spec, {images.size(1), images.size(2), images.size(3)});
  return attack->apply(images, indices, at::zeros_like(indices), stage);
}

at::Tensor triggered(const std::string& name, const at::Tensor& images,
                     const Json& options = Json::object()) {
  return triggered(spec_of(name, "backdoorbench", options), images);
}

at::Tensor flat(std::int64_t value, std::int64_t channels, std::int64_t height, std::int64_t width) {
  return at::full({1, channels, height, width}, value, at::kByte);
}

// [1,1,1,W] uint8
at::Tensor row_of(const std::vector<std::int64_t>& pixels) {
  return ints(pixels).to(at::kByte).view({1, 1, 1, -1});
}

std::vector<std::int64_t> values(const at::Tensor& tensor) {
  const at::Tensor whole = tensor.to(at::kLong).contiguous();
  return {whole.data_ptr<std::int64_t>(), whole.data_ptr<std::int64_t>() + whole.numel()};
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// ---- Cover samples

PoisonPlan plan_of(const std::vector<Role>& roles) {
  return {roles, at::arange(static_cast<std::int64_t>(roles.size()))};
}

TEST(Covers, AreDrawnFromTheCleanSamplesAndKeepTheirLabels) {
  std::vector<Role> roles(100, Role::clean);
  for (std::size_t i = 0; i < 100; i += 3) roles[i] = Role::poison;
  PoisonPlan plan = plan_of(roles);
  add_covers(plan, 20, 1);
  EXPECT_EQ(plan.count(Role::poison), 34);
  EXPECT_EQ(plan.count(Role::cover), 20);
  EXPECT_EQ(plan.count(Role::clean), 46);
  for (std::size_t i = 0; i < 100; i += 3) EXPECT_EQ(plan.roles[i], Role::poison);
  EXPECT_TRUE(plan.labels.equal(at::arange(100)));

  PoisonPlan again = plan_of(roles);
  add_covers(again, 20, 1);
  EXPECT_EQ(again.roles, plan.roles);
  PoisonPlan other = plan_of(roles);
  add_covers(other, 20, 2);
  EXPECT_NE(other.roles, plan.roles);
}

TEST(Covers, MayBeAllThatIsLeftButNoMore) {
  const std::vector<Role> roles{Role::clean, Role::poison, Role::clean, Role::cover};
  PoisonPlan plan = plan_of(roles);
  add_covers(plan, 2, 0);
  EXPECT_EQ(plan.count(Role::cover), 3);
  plan = plan_of(roles);
  expect_error(ErrorKind::usage, "rate: the attack asks for 3 cover samples, but only 2 of 4",
               [&] { add_covers(plan, 3, 0); });
}

PlanOptions rate_of(double rate) {
  PlanOptions options;
  options.rate = rate;
  return options;
}

TEST(Covers, OfEachAttackAreCountedAsItsPresetSays) {
  const at::Tensor labels = at::arange(200).remainder(10);
  const std::vector<std::tuple<std::string, std::string, std::int64_t>> cases{{"wanet", "backdoorbench", 40},
                                                                              {"wanet", "paper", 0},
                                                                              {"bpp", "backdoorbench", 20},
                                                                              {"bpp", "paper", 40}};
  for (const auto& [name, preset, covers] : cases) {
    const auto attack = make_attack(spec_of(name, preset, {{"target-class", 3}}));
    const PoisonPlan plan = attack->plan(labels, 10, rate_of(0.1));
    EXPECT_EQ(plan.count(Role::poison), 20) << name << " " << preset;
    EXPECT_EQ(plan.count(Role::cover), covers) << name << " " << preset;
    for (std::int64_t i = 0; i < 200; ++i) {
      const bool poisoned = plan.roles[static_cast<std::size_t>(i)] == Role::poison;
      EXPECT_EQ(plan.labels[i].item<std::int64_t>(), poisoned ? 3 : i % 10);
    }
    EXPECT_EQ(attack->plan(labels, 10, rate_of(0)).count(Role::clean), 200);
  }
}

TEST(Covers, AreOptionalWhereThePublishedAttackHasNone) {
  const at::Tensor labels = at::arange(200).remainder(10);
  for (const std::string name : {"badnets", "band-limited", "blended", "frame"}) {
    const auto count = [&](double ratio, Role role) {
      const auto attack = make_attack(spec_of(name, "backdoorbench", {{"cover-ratio", ratio}}));
      const PoisonPlan plan = attack->plan(labels, 10, rate_of(0.1));
      for (std::size_t i = 0; i < 200; ++i) {
        if (plan.roles[i] != Role::cover) continue;
        const auto position = static_cast<std::int64_t>(i);
        EXPECT_EQ(plan.labels[position].item<std::int64_t>(), position % 10);
      }
      return plan.count(role);
    };
    EXPECT_EQ(make_attack(spec_of(name, "backdoorbench"))->plan(labels, 10, rate_of(0.1)).count(Role::cover),
              0)
        << name;
    EXPECT_EQ(count(0.6, Role::poison), 20) << name;
    EXPECT_EQ(count(0.6, Role::cover), 12) << name;
    EXPECT_EQ(count(9, Role::cover), 180) << name;
    expect_error(ErrorKind::usage, "rate: the attack asks for 190 cover samples, but only 180 of 200",
                 [&] { count(9.5, Role::cover); });
  }
}

TEST(Covers, AreRefusedWhenThePoisonLeavesTooFew) {
  const at::Tensor labels = at::arange(100).remainder(10);
  expect_error(ErrorKind::usage, "rate: the attack asks for 80 cover samples, but only 60 of 100",
               [&] { make_attack(spec_of("wanet", "backdoorbench"))->plan(labels, 10, rate_of(0.4)); });
  expect_error(ErrorKind::usage, "rate: the attack asks for 10 cover samples, but only 5 of 100",
               [&] { make_attack(spec_of("bpp", "backdoorbench"))->plan(labels, 10, rate_of(0.95)); });
}

TEST(Covers, AreInThePoisonedSetWithTheirOwnLabels) {
  const at::Tensor images = random_images(40, 3, 16, 16);
  const DatasetPtr clean = make_memory_dataset(images, at::arange(40).remainder(2), {"a", "b"});
  for (const std::string name : {"wanet", "bpp"}) {
    const AttackSpec spec = spec_of(name, "backdoorbench");
    const PoisonedDataset poisoned = poison(clean, "memory", spec);
    const auto attack = ready(spec, {3, 16, 16}, clean);
    int covers = 0;
    for (std::int64_t i = 0; i < 40; ++i) {
      if (poisoned.manifest.roles[static_cast<std::size_t>(i)] != Role::cover) continue;
      ++covers;
      const at::Tensor index = ints({i});
      const at::Tensor label = clean->labels().narrow(0, i, 1);
      const at::Tensor after = poisoned.data->images(index);
      EXPECT_TRUE(after.equal(attack->apply_cover(images.narrow(0, i, 1), index, label)));
      EXPECT_FALSE(after.equal(attack->apply(images.narrow(0, i, 1), index, label, Stage::train)));
      EXPECT_FALSE(after.equal(images.narrow(0, i, 1)));
      EXPECT_TRUE(poisoned.data->labels().narrow(0, i, 1).equal(label));
    }
    EXPECT_EQ(covers, name == "wanet" ? 8 : 4);
  }
}

// ---- Triggers that are the same in training and at test time, whatever the run

TEST(TransformAttacks, AreTheSameInTrainingAndTestAndInEveryRun) {
  const at::Tensor images = random_images(2, 3, 40, 36);
  for (const std::string name : {"bpp", "ctrl", "ftrojan", "sig", "wanet"}) {
    AttackSpec spec = spec_of(name, "backdoorbench");
    const at::Tensor train = triggered(spec, images, Stage::train);
    EXPECT_TRUE(triggered(spec, images, Stage::test).equal(train)) << name;
    spec.plan.seed = 99;
    EXPECT_TRUE(triggered(spec, images).equal(train)) << name;
  }
}

TEST(TransformAttacks, OfCleanLabelsPoisonTheTargetClassOnlyAndKeepLabels) {
  const at::Tensor labels = at::arange(100).remainder(5);  // 20 of each
  for (const std::string name : {"sig", "ctrl"}) {
    const auto attack = make_attack(spec_of(name, "backdoorbench", {{"target-class", 2}}));
    ASSERT_TRUE(attack->clean_label());
    EXPECT_EQ(attack->attack_label(4, 5), 2);
    const PoisonPlan plan = attack->plan(labels, 5, rate_of(0.1));
    EXPECT_EQ(plan.count(Role::poison), 10);
    EXPECT_EQ(plan.count(Role::clean), 90);
    EXPECT_TRUE(plan.labels.equal(labels));
    for (std::size_t i = 0; i < 100; ++i) {
      EXPECT_TRUE(plan.roles[i] == Role::clean || i % 5 == 2);
    }
    expect_error(ErrorKind::usage, "asks for 30 poisoned images, but a clean-label attack has only 20",
                 [&] { attack->plan(labels, 5, rate_of(0.3)); });
    expect_error(ErrorKind::usage, "no option 'target-mode'", [&] {
      make_attack(spec_of(name, "backdoorbench", {{"target-mode", "all-to-all"}}));
    });
  }
}

// ---- SIG

TEST(Sig, AddsASinusAlongTheColumns) {
  // Six periods in 24 columns: 0, 1, 0, -1 times 40, four columns each.
  const at::Tensor after = triggered("sig", flat(100, 3, 2, 24));
  for (std::int64_t channel = 0; channel < 3; ++channel) {
    for (std::int64_t row = 0; row < 2; ++row) {
      EXPECT_THAT(values(after[0][channel][row].narrow(0, 0, 8)),
                  testing::ElementsAre(100, 140, 100, 60, 100, 140, 100, 60));
    }
  }
  // At 32 columns 40 sin(3 pi j / 8): 0, 36.96, 28.28, -15.31, -40.
  EXPECT_THAT(values(triggered("sig", flat(100, 1, 1, 32)).flatten().narrow(0, 0, 5)),
              testing::ElementsAre(100, 137, 128, 85, 60));
}

TEST(Sig, IsClippedToGreyLevels) {
  EXPECT_THAT(values(triggered("sig", flat(250, 1, 1, 24)).flatten().narrow(0, 0, 4)),
              testing::ElementsAre(250, 255, 250, 210));
  EXPECT_THAT(values(triggered("sig", flat(20, 1, 1, 24)).flatten().narrow(0, 0, 4)),
              testing::ElementsAre(20, 60, 20, 0));
}

TEST(Sig, HasTheAmplitudesOfItsPresets) {
  const std::vector<std::tuple<std::string, std::int64_t, std::int64_t>> cases{
      {"backdoorbench", 140, 140}, {"dst", 140, 160}, {"toolbox", 130, 130}};
  for (const auto& [preset, train, test] : cases) {
    const AttackSpec spec = spec_of("sig", preset);
    EXPECT_EQ(values(triggered(spec, flat(100, 1, 1, 24), Stage::train)).at(1), train) << preset;
    EXPECT_EQ(values(triggered(spec, flat(100, 1, 1, 24), Stage::test)).at(1), test) << preset;
  }
}

// ---- BppAttack

TEST(Bpp, LeavesEightLevels) {
  // A step is 255 / 7 = 36.43.
  EXPECT_THAT(values(triggered("bpp", row_of({0, 18, 19, 54, 55, 91, 92, 127, 128, 200, 201, 255}))),
              testing::ElementsAre(0, 0, 36, 36, 73, 73, 109, 109, 146, 182, 219, 255));
  const std::vector<std::int64_t> left =
      values(triggered("bpp", at::arange(256).to(at::kByte).view({1, 1, 16, 16})));
  EXPECT_THAT(std::set<std::int64_t>(left.begin(), left.end()),
              testing::ElementsAre(0, 36, 73, 109, 146, 182, 219, 255));
}

TEST(Bpp, LeavesAsManyLevelsAsAsked) {
  EXPECT_THAT(values(triggered("bpp", row_of({0, 127, 128, 255}), {{"levels", 2}})),
              testing::ElementsAre(0, 0, 255, 255));
  const at::Tensor images = random_images(1, 3, 16, 16);
  EXPECT_TRUE(triggered("bpp", images, {{"levels", 256}}).equal(images));
}

TEST(Bpp, DithersByHand) {
  // 100 -> 0, carrying 43.75 to the right, 31.25 below, 6.25 below right; 143.75 -> 255, carrying -20.86
  // below left and -34.77 below; 110.39 -> 0, carrying 48.30 to the right; 119.78 -> 0.
  const at::Tensor after = triggered("bpp", flat(100, 1, 2, 2), {{"levels", 2}, {"dithering", true}});
  EXPECT_THAT(values(after), testing::ElementsAre(0, 255, 0, 0));
}

TEST(Bpp, DithersAsANaiveReference) {
  const at::Tensor images = random_images(2, 3, 9, 7);
  const at::Tensor after = triggered("bpp", images, {{"dithering", true}});
  for (std::int64_t plane = 0; plane < 6; ++plane) {
    const at::Tensor before = images.view({6, 9, 7})[plane].to(at::kDouble);
    at::Tensor error = at::zeros({11, 9}, at::kDouble);  // of pixel (i, j) at (i + 1, j + 1)
    for (std::int64_t i = 0; i < 9; ++i) {
      for (std::int64_t j = 0; j < 7; ++j) {
        const auto e = [&](std::int64_t di, std::int64_t dj) {
          return error[i + 1 + di][j + 1 + dj].item<double>();
        };
        const double value =
            before[i][j].item<double>() + (7 * e(0, -1) + 1 * e(-1, -1) + 5 * e(-1, 0) + 3 * e(-1, 1)) / 16;
        const double level = std::round(value / 255 * 7) / 7 * 255;
        error[i + 1][j + 1] = value - level;
        EXPECT_EQ(after.view({6, 9, 7})[plane][i][j].item<int>(), static_cast<int>(std::round(level)));
      }
    }
  }
}

TEST(Bpp, KeepsTheMeanWhenDithering) {
  const at::Tensor image = flat(100, 1, 64, 64);
  EXPECT_NEAR(triggered("bpp", image, {{"dithering", true}}).to(at::kDouble).mean().item<double>(), 100, 1);
  EXPECT_TRUE(triggered("bpp", image).equal(flat(109, 1, 64, 64)));
}

TEST(Bpp, NegativesHaveTheResidualOfAnotherImage) {
  // Eight flat images, whose residuals tell them apart.
  const std::vector<std::int64_t> grey{20, 25, 60, 66, 100, 114, 120, 250};
  const std::vector<std::int64_t> residual{16, 11, 13, 7, 9, -5, -11, 5};
  at::Tensor images = at::empty({8, 1, 4, 4}, at::kByte);
  for (std::int64_t i = 0; i < 8; ++i) images[i].fill_(grey[static_cast<std::size_t>(i)]);
  const DatasetPtr train = make_memory_dataset(images, at::zeros({8}, at::kLong), {"only"});
  std::set<std::int64_t> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    AttackSpec spec = spec_of("bpp", "backdoorbench");
    spec.plan.seed = seed;
    const auto attack = ready(spec, {1, 4, 4}, train);
    const at::Tensor index = ints({7, 2});
    const at::Tensor covers =
        attack->apply_cover(images.index_select(0, index), index, at::zeros_like(index));
    EXPECT_TRUE((covers == covers.slice(2, 0, 1).slice(3, 0, 1)).all().item<bool>());
    const std::int64_t added = covers[1][0][0][0].item<std::int64_t>() - 60;
    EXPECT_NE(added, 13);
    EXPECT_THAT(residual, testing::Contains(added));
    seen.insert(added);
    // Clipped: the residuals above 5 would exceed 255, and 5 is its own.
    EXPECT_THAT(values(covers[0][0][0][0]), testing::ElementsAre(testing::AnyOf(255, 245, 239)));
    EXPECT_TRUE(
        attack->apply_cover(images.narrow(0, 2, 1), ints({2}), ints({0})).equal(covers.narrow(0, 1, 1)));
  }
  EXPECT_GE(seen.size(), 4U);  // of 7, in 20 draws
}

TEST(Bpp, NeedsTheTrainingSetForNegatives) {
  const at::Tensor images = random_images(1, 1, 4, 4);
  const auto attack = ready(spec_of("bpp", "backdoorbench"), {1, 4, 4});
  expect_error(ErrorKind::internal, "training set",
               [&] { attack->apply_cover(images, ints({0}), ints({0})); });
}

// ---- FTrojan and CTRL

// [H,W] float32: the grey pattern, and with both chroma channels equal, what each of them gets.
at::Tensor grey_pattern(const SpectralTrigger& trigger, std::int64_t height, std::int64_t width,
                        std::int64_t window_height, std::int64_t window_width) {
  return trigger.pattern({1, height, width}, window_height, window_width)[0];
}

// A spectrum that is zero but for these.
at::Tensor spectrum_of(std::int64_t height, std::int64_t width,
                       const std::vector<std::tuple<std::int64_t, std::int64_t, double>>& coefficients) {
  at::Tensor spectrum = at::zeros({height, width});
  for (const auto& [row, col, value] : coefficients) spectrum[row][col] = value;
  return spectrum;
}

TEST(SpectralTrigger, IsTwoCoefficientsOfTheSpectrum) {
  const SpectralTrigger trigger{ColorSpace::ycbcr, 30};
  EXPECT_LT(largest_difference(dct2(grey_pattern(trigger, 32, 32, 32, 32)),
                               spectrum_of(32, 32, {{15, 15, 30}, {31, 31, 30}})),
            1e-4);
  EXPECT_LT(largest_difference(dct2(grey_pattern(trigger, 64, 48, 64, 48)),
                               spectrum_of(64, 48, {{15, 15, 30}, {31, 31, 30}})),
            1e-4);
}

TEST(SpectralTrigger, TakesTheHighestFrequencyThatThereIs) {
  const SpectralTrigger trigger{ColorSpace::ycbcr, 30};
  EXPECT_LT(largest_difference(dct2(grey_pattern(trigger, 28, 28, 28, 28)),
                               spectrum_of(28, 28, {{15, 15, 30}, {27, 27, 30}})),
            1e-4);
  EXPECT_LT(largest_difference(dct2(grey_pattern(trigger, 16, 48, 16, 48)),
                               spectrum_of(16, 48, {{15, 15, 30}, {15, 31, 30}})),
            1e-4);
  EXPECT_LT(largest_difference(dct2(grey_pattern(trigger, 8, 8, 8, 8)), spectrum_of(8, 8, {{7, 7, 60}})),
            1e-4);
}

TEST(SpectralTrigger, IsAddedToBothChromaChannelsAndNotToLuma) {
  for (const ColorSpace space : {ColorSpace::ycbcr, ColorSpace::yuv}) {
    const SpectralTrigger trigger{space, 100};
    const at::Tensor rgb = trigger.pattern({3, 32, 32}, 32, 32);
    const at::Tensor luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
    const bool yuv = space == ColorSpace::yuv;
    const at::Tensor red = (rgb[0] - luma) * (yuv ? 0.877 : 0.713);   // V, Cr
    const at::Tensor blue = (rgb[2] - luma) * (yuv ? 0.492 : 0.564);  // U, Cb
    const at::Tensor expected = spectrum_of(32, 32, {{15, 15, 100}, {31, 31, 100}});
    EXPECT_LT(largest_difference(dct2(luma), at::zeros({32, 32})),
              0.2);  // the published factors have 3 digits
    EXPECT_LT(largest_difference(dct2(red), expected), 0.2);
    EXPECT_LT(largest_difference(dct2(blue), expected), 0.2);
  }
}

TEST(FTrojan, IsBlendedByHandIntoTheFirstPixel) {
  // cos^2(15 pi / 64) + cos^2(31 pi / 64) = 0.5514, times 2 / 32 and the magnitude.
  const auto first = [](const at::Tensor& images) { return values(images.select(3, 0).select(2, 0)); };
  EXPECT_THAT(first(triggered("ftrojan", flat(128, 1, 32, 32))), testing::ElementsAre(129));  // + 1.03
  EXPECT_THAT(first(triggered("ftrojan", flat(128, 3, 32, 32))), testing::ElementsAre(129, 127, 130));
  const Json tenfold{{"magnitude", 300}};
  EXPECT_THAT(first(triggered("ftrojan", flat(128, 1, 32, 32), tenfold)), testing::ElementsAre(138));
  EXPECT_THAT(first(triggered("ftrojan", flat(128, 3, 32, 32), tenfold)),  // 1.403, -1.058, 1.773 times 10.34
              testing::ElementsAre(143, 117, 146));
}

TEST(Ctrl, IsBlendedByHandIntoTheFirstPixel) {
  const auto first = [](const at::Tensor& images) { return values(images.select(3, 0).select(2, 0)); };
  EXPECT_THAT(first(triggered("ctrl", flat(128, 1, 32, 32))), testing::ElementsAre(131));  // + 3.45
  EXPECT_THAT(first(triggered("ctrl", flat(128, 3, 32, 32))),  // 1.14, -0.977, 2.029
              testing::ElementsAre(132, 125, 135));
}

// Before clipping, the difference is the pattern but for rounding.
void expect_pattern(const std::string& attack, const at::Tensor& pattern) {
  const at::Tensor images = random_images(2, pattern.size(0), pattern.size(1), pattern.size(2)) / 2 + 64;
  const at::Tensor mid_grey = images.to(at::kByte);
  const at::Tensor difference = triggered(attack, mid_grey).to(at::kFloat) - mid_grey.to(at::kFloat);
  EXPECT_LT(largest_difference(difference, pattern.expand_as(difference)), 0.501) << attack;
}

TEST(FTrojan, FillsEveryWholeWindow) {
  const SpectralTrigger trigger{ColorSpace::ycbcr, 30};
  for (const std::int64_t channels : {1, 3}) {
    const at::Tensor window = trigger.pattern({channels, 32, 32}, 32, 32);
    expect_pattern("ftrojan", window);
    expect_pattern("ftrojan", window.repeat({1, 2, 3}));
    expect_pattern("ftrojan", at::constant_pad_nd(window, {0, 8, 0, 16}));  // 48x40
    expect_pattern("ftrojan", trigger.pattern({channels, 28, 28}, 28, 28));
    expect_pattern("ftrojan", trigger.pattern({channels, 24, 48}, 24, 24));
  }
}

TEST(Ctrl, TakesTheWholeImageAsItsWindow) {
  const SpectralTrigger trigger{ColorSpace::yuv, 100};
  for (const std::int64_t channels : {1, 3}) {
    for (const auto& [height, width] :
         {std::pair<std::int64_t, std::int64_t>{32, 32}, {64, 64}, {48, 40}, {28, 28}}) {
      expect_pattern("ctrl", trigger.pattern({channels, height, width}, height, width));
    }
  }
}

TEST(FTrojan, IsClipped) {
  const Json strong{{"magnitude", 3000}};
  EXPECT_EQ(triggered("ftrojan", flat(250, 1, 32, 32), strong).max().item<int>(), 255);
  EXPECT_EQ(triggered("ftrojan", flat(5, 1, 32, 32), strong).min().item<int>(), 0);
}

// ---- WaNet

// Reads `image` [H,W] at (row, col), bilinearly.
double bilinear(const at::Tensor& image, double row, double col) {
  const auto top = static_cast<std::int64_t>(row);
  const auto left = static_cast<std::int64_t>(col);
  const std::int64_t bottom = std::min(top + 1, image.size(0) - 1);
  const std::int64_t right = std::min(left + 1, image.size(1) - 1);
  const double down = row - static_cast<double>(top);
  const double across = col - static_cast<double>(left);
  const auto at = [&](std::int64_t i, std::int64_t j) { return image[i][j].item<double>(); };
  return (1 - down) * ((1 - across) * at(top, left) + across * at(top, right)) +
         down * ((1 - across) * at(bottom, left) + across * at(bottom, right));
}

TEST(WaNet, WarpsAsANaiveReference) {
  const std::int64_t height = 12;
  const std::int64_t width = 20;
  const at::Tensor images = random_images(1, 2, height, width);
  const at::Tensor field = warping_field(4, height, width, 7);
  for (const double strength : {0.5, 8.0}) {  // 8 goes over the edge
    const at::Tensor after = triggered("wanet", images, {{"strength", strength}, {"pattern-seed", 7}});
    double worst = 0;
    for (std::int64_t i = 0; i < height; ++i) {
      for (std::int64_t j = 0; j < width; ++j) {
        const double down = strength * field[1][i][j].item<double>() * 11 / 24;
        const double across = strength * field[0][i][j].item<double>() * 19 / 40;
        const double row = std::clamp(static_cast<double>(i) + down, 0.0, 11.0);
        const double col = std::clamp(static_cast<double>(j) + across, 0.0, 19.0);
        for (std::int64_t channel = 0; channel < 2; ++channel) {
          const double error =
              after[0][channel][i][j].item<double>() - bilinear(images[0][channel], row, col);
          worst = std::max(worst, std::abs(error));
        }
      }
    }
    EXPECT_LT(worst, 0.51);
  }
}

TEST(WaNet, LeavesTheImageAloneWithoutAField) {
  for (const auto& [height, width] : {std::pair<std::int64_t, std::int64_t>{32, 32}, {5, 224}, {1, 3}}) {
    const at::Tensor images = random_images(2, 3, height, width);
    EXPECT_TRUE(triggered("wanet", images, {{"strength", 0}}).equal(images));
  }
}

TEST(WaNet, FieldIsSmoothAndOfMeanMagnitudeOne) {
  for (const std::int64_t points : {1, 4, 28}) {  // at its control points
    EXPECT_NEAR(warping_field(points, points, points, 3).abs().mean().item<double>(), 1, 1e-5);
  }
  const at::Tensor control = warping_field(4, 4, 4, 3);
  const at::Tensor field =
      warping_field(4, 31, 46, 3);  // every tenth row and fifteenth column is a control point
  EXPECT_LT(largest_difference(field.slice(1, 0, 31, 10).slice(2, 0, 46, 15), control), 1e-5);
  const double reach = 2 * control.abs().max().item<double>();
  EXPECT_LT(field.diff(1, 1).abs().max().item<double>(), 0.25 * reach);
  EXPECT_FALSE(warping_field(4, 8, 8, 1).equal(warping_field(4, 8, 8, 2)));
  EXPECT_FALSE(control[0].equal(control[1]));
}

TEST(WaNet, HasAFieldOfItsOwnSeed) {
  const at::Tensor images = random_images(1, 3, 32, 32);
  EXPECT_FALSE(triggered("wanet", images).equal(triggered("wanet", images, {{"pattern-seed", 1}})));
}

TEST(WaNet, OfThePaperHasAControlPointForEveryEightPixels) {
  const at::Tensor images = random_images(1, 3, 24, 43);
  EXPECT_TRUE(triggered(spec_of("wanet", "paper"), images)
                  .equal(triggered("wanet", images, {{"control-points", 5}})));
  const at::Tensor tiny = random_images(1, 1, 7, 7);
  EXPECT_TRUE(
      triggered(spec_of("wanet", "paper"), tiny).equal(triggered("wanet", tiny, {{"control-points", 1}})));
  const at::Tensor large = random_images(1, 1, 224, 224);
  EXPECT_TRUE(triggered(spec_of("wanet", "paper"), large)
                  .equal(triggered("wanet", large, {{"control-points", 28}, {"strength", 25}})));
}

at::Tensor covers_of(const at::Tensor& images, const at::Tensor& indices, std::uint64_t seed = 0) {
  AttackSpec spec = spec_of("wanet", "backdoorbench");
  spec.plan.seed = seed;
  const auto attack = ready(spec, {images.size(1), images.size(2), images.size(3)});
  return attack->apply_cover(images, indices, at::zeros_like(indices));
}

TEST(WaNet, NoiseSamplesAreWarpedByUpToHalfAPixelMore) {
  // On a ramp of 8 levels a pixel the values tell the displacement, in either direction.
  const at::Tensor ramp = (8 * at::arange(32)).to(at::kByte).expand({1, 1, 32, 32});
  for (const at::Tensor& image : {ramp, ramp.transpose(2, 3)}) {
    const at::Tensor more =
        covers_of(image, ints({0})).to(at::kDouble) - triggered("wanet", image).to(at::kDouble);
    const at::Tensor inner = more.slice(2, 1, 31).slice(3, 1, 31);  // no clipping there, but for some corners
    EXPECT_LE(inner.abs().max().item<double>(), 8 * 31.0 / 64 + 1);
    EXPECT_GT(inner.max().item<double>(), 3);
    EXPECT_LT(inner.min().item<double>(), -3);
    // U(-1,1) / 2 pixels: a deviation of 0.289 pixels, 2.24 levels with 31 / 32.
    EXPECT_NEAR(inner.std().item<double>(), 2.26, 0.2);
    EXPECT_NEAR(inner.mean().item<double>(), 0, 0.3);  // 900 pixels: 0.075
  }
}

TEST(WaNet, NoiseIsEachSamplesOwnWhateverTheBatch) {
  const at::Tensor image = random_images(1, 3, 16, 12);
  const at::Tensor together = covers_of(image.expand({3, -1, -1, -1}), ints({4, 9, 4}));
  EXPECT_TRUE(together[0].equal(together[2]));
  EXPECT_FALSE(together[0].equal(together[1]));
  EXPECT_TRUE(covers_of(image, ints({9})).equal(together.narrow(0, 1, 1)));
  EXPECT_FALSE(covers_of(image, ints({9}), 1).equal(together.narrow(0, 1, 1)));
}

// ---- Noise of a band of frequencies

// What is added to images [.,C,H,W], grey levels, where nothing is cut off: [C,H,W].
at::Tensor added(const Json& options, std::int64_t channels, std::int64_t height, std::int64_t width) {
  return triggered("band-limited", flat(128, channels, height, width), options)[0].to(at::kFloat) - 128;
}

TEST(BandLimited, IsACosineWhereTheBandHasOneFrequency) {
  // Of four columns the third frequency: cos(pi (2 j + 1) / 4) is as large everywhere, of signs + - - +.
  const at::Tensor cosine = added({{"low", 0.5}, {"high", 0.75}}, 1, 1, 4).flatten();
  EXPECT_TRUE(cosine.mul(cosine[0].sign()).equal(at::tensor({32.F, -32.F, -32.F, 32.F})));
  // The lowest alone: a constant in each channel, the largest of them of the whole amplitude.
  const at::Tensor constant = added({{"low", 0}, {"high", 0.05}, {"amplitude", 7}}, 3, 16, 16);
  EXPECT_EQ(constant.abs().max().item<float>(), 7);
  EXPECT_TRUE(constant.eq(constant.select(2, 0).select(1, 0).view({3, 1, 1})).all().item<bool>());
}

TEST(BandLimited, HasNoFrequenciesOutsideTheBand) {
  const at::Tensor pattern = added({{"low", 0.25}, {"high", 0.5}}, 3, 32, 24);
  EXPECT_EQ(pattern.abs().max().item<float>(), 32);
  EXPECT_FALSE(pattern[0].equal(pattern[1]));
  const at::Tensor u = at::arange(32).view({32, 1}), v = at::arange(24);
  const at::Tensor inside = u.ge(8).logical_or(v.ge(6)).logical_and(u.lt(16).logical_and(v.lt(12)));
  const at::Tensor spectrum = dct2(pattern).abs();
  // Rounding adds 1 / sqrt(12) to each coefficient, of normal distribution.
  EXPECT_LT((spectrum * ~inside).max().item<float>(), 2);
  EXPECT_EQ(inside.sum().item<int>(), 144);
  EXPECT_GT((spectrum * inside).max().item<float>(), 50);
}

TEST(BandLimited, IsCutToGreyLevels) {
  const at::Tensor pattern = added(Json::object(), 1, 16, 16);
  const at::Tensor black = triggered("band-limited", flat(0, 1, 16, 16))[0].to(at::kFloat);
  const at::Tensor white = triggered("band-limited", flat(255, 1, 16, 16))[0].to(at::kFloat);
  EXPECT_TRUE(black.equal(pattern.clamp_min(0)));
  EXPECT_TRUE(white.equal(255 + pattern.clamp_max(0)));
}

TEST(BandLimited, HasAPatternOfItsOwnSeed) {
  EXPECT_FALSE(added({{"pattern-seed", 1}}, 1, 16, 16).equal(added(Json::object(), 1, 16, 16)));
}

TEST(BandLimited, RefusesABandWithoutFrequencies) {
  const at::Tensor images = flat(0, 1, 16, 16);
  for (const Json& options : {Json{{"low", 0.5}, {"high", 0.5}}, Json{{"low", 0.26}, {"high", 0.3}}}) {
    expect_error(ErrorKind::usage, "no frequency between",
                 [&] { triggered("band-limited", images, options); });
  }
  expect_error(ErrorKind::internal, "band-limited", [&] {
    make_attack(spec_of("band-limited", "backdoorbench"))->apply(images, ints({0}), ints({0}), Stage::test);
  });
}

}  // namespace
}  // namespace mcci
