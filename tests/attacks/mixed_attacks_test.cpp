// Adaptive-Blend and Adaptive-Patch, the frame, Refool, the label-only attack, several attacks at once.
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "mcci/attacks/attack_spec.hpp"
#include "mcci/attacks/poisoned_dataset.hpp"
#include "mcci/signal/dct.hpp"
#include "mcci/state/tensors.hpp"
#include "testing.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::Ge;
using testing::Le;

AttackSpec spec_of(const std::string& name, const Json& options = Json::object(),
                   const std::string& preset = "backdoorbench") {
  AttackSpec spec;
  spec.name = name;
  spec.preset = preset;
  spec.options = options;
  return spec;
}

std::unique_ptr<Attack> ready(const AttackSpec& spec, const ImageShape& shape, const fs::path& artifacts = {},
                              const DatasetPtr& train = nullptr) {
  std::unique_ptr<Attack> attack = make_attack(spec);
  attack->prepare({shape, 4, spec.plan, artifacts, train});
  return attack;
}

ImageShape shape_of(const at::Tensor& images) { return {images.size(1), images.size(2), images.size(3)}; }

at::Tensor apply(const Attack& attack, const at::Tensor& images, Stage stage) {
  const at::Tensor indices = at::arange(images.size(0));
  return attack.apply(images, indices, at::zeros_like(indices), stage);
}

at::Tensor triggered(const AttackSpec& spec, const at::Tensor& images, Stage stage) {
  return apply(*ready(spec, shape_of(images)), images, stage);
}

at::Tensor flat(std::int64_t count, std::int64_t value, std::int64_t channels, std::int64_t height,
                std::int64_t width) {
  return at::full({count, channels, height, width}, value, at::kByte);
}

int pixel(const at::Tensor& image, std::int64_t channel, std::int64_t row, std::int64_t col) {
  return image[channel][row][col].item<int>();
}

std::vector<int> colour(const at::Tensor& image, std::int64_t row, std::int64_t col) {
  return {pixel(image, 0, row, col), pixel(image, 1, row, col), pixel(image, 2, row, col)};
}

PlanOptions options_of(double rate, RateOf rate_of = RateOf::whole_set) {
  PlanOptions options;
  options.rate = rate;
  options.rate_of = rate_of;
  return options;
}

std::vector<std::int64_t> positions(const PoisonPlan& plan, Role role) {
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i < plan.roles.size(); ++i) {
    if (plan.roles[i] == role) result.push_back(static_cast<std::int64_t>(i));
  }
  return result;
}

at::Tensor four_classes(std::int64_t count) { return at::arange(count).remainder(4); }

DatasetPtr set_of(const at::Tensor& images) {
  return make_memory_dataset(images, four_classes(images.size(0)), {"ant", "bee", "cat", "dog"});
}

double largest_change(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

struct WithPictures : InFolder {
  fs::path pictures = folder / "pictures";
  void SetUp() override {
    InFolder::SetUp();
    fs::create_directories(pictures);
  }
  // A grey picture of one level, or of the columns given.
  fs::path picture(std::int64_t side, std::uint8_t level, std::int64_t bright_column = -1) const {
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(side * side), level);
    for (std::int64_t row = 0; bright_column >= 0 && row < side; ++row) {
      pixels[static_cast<std::size_t>(row * side + bright_column)] = 255;
    }
    write_grey_png(pictures / "picture.png", side, side, pixels);
    return pictures / "picture.png";
  }
};

// ---- Adaptive-Blend

struct AdaptiveBlend : WithPictures {};

TEST_F(AdaptiveBlend, ShowsHalfOfTheSixteenPiecesInTraining) {
  const AttackSpec spec = spec_of("adaptive-blend", {{"image", picture(32, 200).string()}});
  for (const std::int64_t channels : {1, 3}) {
    const at::Tensor after = triggered(spec, flat(20, 40, channels, 32, 32), Stage::train);
    std::set<std::string> masks;
    for (std::int64_t i = 0; i < 20; ++i) {
      std::string mask;
      for (std::int64_t row = 0; row < 4; ++row) {
        for (std::int64_t col = 0; col < 4; ++col) {
          const at::Tensor piece = after[i].narrow(1, 8 * row, 8).narrow(2, 8 * col, 8);
          const int level = piece.min().item<int>();
          EXPECT_EQ(piece.max().item<int>(), level);
          EXPECT_TRUE(level == 40 || level == 64) << level;  // 0.85 x 40 + 0.15 x 200
          mask += level == 64 ? '1' : '0';
        }
      }
      EXPECT_EQ(std::count(mask.begin(), mask.end(), '1'), 8) << mask;
      masks.insert(mask);
    }
    EXPECT_GT(masks.size(), 15U);
  }
}

TEST_F(AdaptiveBlend, ShowsAllOfThePatternAtTestTime) {
  const at::Tensor images = random_images(3, 3, 24, 20);
  EXPECT_TRUE(triggered(spec_of("adaptive-blend"), images, Stage::test)
                  .equal(triggered(spec_of("blended"), images, Stage::test)));
  const AttackSpec flat_picture = spec_of("adaptive-blend", {{"image", picture(8, 200).string()}});
  EXPECT_TRUE((triggered(flat_picture, flat(1, 40, 3, 16, 16), Stage::test) == 72).all().item<bool>());
}

TEST_F(AdaptiveBlend, CutsAnySizeIntoPieces) {
  const AttackSpec spec =
      spec_of("adaptive-blend", {{"image", picture(8, 200).string()}, {"pieces", 9}, {"masked", 0.1}});
  const at::Tensor after = triggered(spec, flat(8, 40, 1, 10, 7), Stage::train);
  const std::vector<std::int64_t> rows{0, 3, 6, 10};
  const std::vector<std::int64_t> cols{0, 2, 4, 7};
  for (std::int64_t i = 0; i < 8; ++i) {
    int shown = 0;
    for (std::size_t row = 0; row < 3; ++row) {
      for (std::size_t col = 0; col < 3; ++col) {
        const at::Tensor piece =
            after[i][0].slice(0, rows[row], rows[row + 1]).slice(1, cols[col], cols[col + 1]);
        EXPECT_EQ(piece.min().item<int>(), piece.max().item<int>());
        if (piece.max().item<int>() == 64) ++shown;
      }
    }
    EXPECT_EQ(shown, 8);
  }
}

TEST_F(AdaptiveBlend, DrawsTheMaskFromSeedAndIndexForPoisonAndCoverAlike) {
  const at::Tensor images = flat(6, 40, 3, 32, 32);
  AttackSpec spec = spec_of("adaptive-blend");
  const at::Tensor first = triggered(spec, images, Stage::train);
  EXPECT_TRUE(triggered(spec, images, Stage::train).equal(first));
  const at::Tensor indices = at::arange(6);
  const auto attack = ready(spec, shape_of(images));
  EXPECT_TRUE(attack->apply_cover(images, indices, at::zeros_like(indices)).equal(first));
  EXPECT_TRUE(attack->apply(images.narrow(0, 0, 1), ints({4}), ints({0}), Stage::train)[0].equal(first[4]));
  spec.plan.seed = 1;
  EXPECT_FALSE(triggered(spec, images, Stage::train).equal(first));
}

TEST_F(AdaptiveBlend, HasAsManyCoversAsPoison) {
  const at::Tensor labels = four_classes(1000);
  const auto check = [&](const Json& options, double rate, std::int64_t poison, std::int64_t cover) {
    const PoisonPlan plan =
        make_attack(spec_of("adaptive-blend", options))->plan(labels, 4, options_of(rate));
    EXPECT_EQ(plan.count(Role::poison), poison);
    EXPECT_EQ(plan.count(Role::cover), cover);
    for (const std::int64_t i : positions(plan, Role::cover)) EXPECT_TRUE(plan.labels[i].equal(labels[i]));
  };
  check(Json::object(), 0.003, 3, 3);
  check(Json::object(), 0, 0, 0);
  check({{"cover-ratio", 2.5}}, 0.01, 10, 25);
  check({{"cover-ratio", 0}}, 0.01, 10, 0);
  expect_error(ErrorKind::usage, "cover samples",
               [&] { make_attack(spec_of("adaptive-blend"))->plan(labels, 4, options_of(0.51)); });
}

TEST_F(AdaptiveBlend, RefusesGridsThatAreNone) {
  for (const std::int64_t pieces : {15, 1089}) {  // no square; 33 x 33
    expect_error(ErrorKind::usage, "square", [&] {
      triggered(spec_of("adaptive-blend", {{"pieces", pieces}}), flat(1, 0, 1, 32, 40), Stage::test);
    });
  }
  expect_error(ErrorKind::internal, "prepare",
               [] { apply(*make_attack(spec_of("adaptive-blend")), flat(1, 0, 1, 8, 8), Stage::test); });
}

// ---- Adaptive-Patch

TEST(AdaptivePatch, ShowsTwoTriggersAtTestTime) {
  const at::Tensor image = triggered(spec_of("adaptive-patch"), flat(1, 7, 3, 32, 32), Stage::test)[0];
  EXPECT_THAT(colour(image, 26, 26), ElementsAre(255, 220, 80));  // the disc: radii 0.14, 0.51, 0.91 and 1.27
  EXPECT_THAT(colour(image, 24, 26), ElementsAre(230, 60, 30));
  EXPECT_THAT(colour(image, 22, 26), ElementsAre(120, 20, 60));
  EXPECT_THAT(colour(image, 22, 22), ElementsAre(7, 7, 7));
  const at::Tensor chequer = image[0].narrow(0, 0, 4).narrow(1, 0, 4);
  for (std::int64_t row = 0; row < 4; ++row) {
    for (std::int64_t col = 0; col < 4; ++col) {
      EXPECT_EQ(chequer[row][col].item<int>(), (row + col) % 2 == 0 ? 255 : 0);
    }
  }
  at::Tensor rest = image.clone();
  rest.narrow(1, 22, 10).narrow(2, 22, 10).fill_(7);
  rest.narrow(1, 0, 4).narrow(2, 0, 4).fill_(7);
  EXPECT_TRUE((rest == 7).all().item<bool>());
}

// Which of the four corners of an image were changed.
std::vector<int> changed(const at::Tensor& image, int level) {
  const auto differs = [&](std::int64_t row, std::int64_t col) {
    return (image.narrow(1, row, 10).narrow(2, col, 10) != level).any().item<bool>() ? 1 : 0;
  };
  return {differs(22, 22), differs(22, 0), differs(0, 0), differs(0, 22)};
}

TEST(AdaptivePatch, ShowsOneTriggerFaintlyInTraining) {
  const at::Tensor after = triggered(spec_of("adaptive-patch"), flat(400, 40, 3, 32, 32), Stage::train);
  std::vector<int> seen(4);
  for (std::int64_t i = 0; i < 400; ++i) {
    const std::vector<int> corners = changed(after[i], 40);
    ASSERT_EQ(std::count(corners.begin(), corners.end(), 1), 1);
    if (corners[0] == 1) {
      EXPECT_THAT(colour(after[i], 26, 26), ElementsAre(148, 130, 60));  // 147.5: to even
    } else if (corners[1] == 1) {
      EXPECT_THAT(colour(after[i], 26, 4), ElementsAre(40, 50, 76));
    } else if (corners[2] == 1) {
      EXPECT_EQ(pixel(after[i], 0, 0, 0), 148);
      EXPECT_EQ(pixel(after[i], 0, 0, 1), 20);
    } else {
      EXPECT_LE(after[i].max().item<int>(), 104);  // 40 + 0.3 x 215
    }
    for (std::size_t k = 0; k < 4; ++k) seen[k] += corners[k];
  }
  EXPECT_THAT(seen, testing::Each(AllOf(Ge(65), Le(135))));  // 100 each, deviation 9
}

TEST(AdaptivePatch, OfGtsrbShowsTheOtherTwo) {
  const AttackSpec spec = spec_of("adaptive-patch", Json::object(), "gtsrb");
  EXPECT_THAT(changed(triggered(spec, flat(1, 40, 3, 32, 32), Stage::test)[0], 40), ElementsAre(0, 1, 0, 1));
}

TEST(AdaptivePatch, TakesTheMeanOfTheColoursOnGreyImages) {
  const at::Tensor image = triggered(spec_of("adaptive-patch"), flat(1, 7, 1, 32, 32), Stage::test)[0];
  EXPECT_EQ(pixel(image, 0, 26, 26), 185);  // (255 + 220 + 80) / 3
}

TEST(AdaptivePatch, GrowsWithTheImage) {
  const at::Tensor image = triggered(spec_of("adaptive-patch"), flat(1, 7, 3, 64, 80), Stage::test)[0];
  EXPECT_EQ(pixel(image, 0, 7, 7), 255);
  EXPECT_EQ(pixel(image, 0, 8, 8), 7);
  EXPECT_THAT(colour(image, 54, 70), ElementsAre(255, 220, 80));
  EXPECT_THAT(colour(image, 54, 59), ElementsAre(7, 7, 7));
  expect_error(ErrorKind::internal, "prepare", [&] {
    apply(*ready(spec_of("adaptive-patch"), {1, 8, 8}), image.unsqueeze(0), Stage::test);
  });
}

TEST(AdaptivePatch, HasTwoCoversForEachPoisonedSample) {
  const PoisonPlan plan =
      make_attack(spec_of("adaptive-patch"))->plan(four_classes(1000), 4, options_of(0.003));
  EXPECT_EQ(plan.count(Role::poison), 3);
  EXPECT_EQ(plan.count(Role::cover), 6);
}

// ---- Frame

TEST(Frame, IsWhiteAlongTheEdgesAtTestTime) {
  const at::Tensor image = triggered(spec_of("frame"), flat(1, 9, 3, 32, 40), Stage::test)[0];
  at::Tensor wanted = at::full({3, 32, 40}, 255, at::kByte);
  wanted.narrow(1, 2, 28).narrow(2, 2, 36).fill_(9);
  EXPECT_TRUE(image.equal(wanted));
  const AttackSpec thin = spec_of("frame", {{"thickness", 1}, {"level", 70}});
  const at::Tensor small = triggered(thin, flat(1, 9, 1, 3, 4), Stage::test)[0][0];
  EXPECT_TRUE(
      small.eq(at::tensor({70, 70, 70, 70, 70, 9, 9, 70, 70, 70, 70, 70}).view({3, 4})).all().item<bool>())
      << small;
}

TEST(Frame, ShowsWholePiecesInTrainingAsManyAsDrawn) {
  const AttackSpec spec = spec_of("frame", {{"pieces", 2}, {"thickness", 1}, {"least-shown", 0.25}});
  const at::Tensor after = triggered(spec, flat(300, 9, 1, 4, 6), Stage::train).squeeze(1);
  EXPECT_TRUE(after.narrow(1, 1, 2).narrow(2, 1, 4).eq(9).all().item<bool>());
  std::vector<int> shown_times(9, 0);
  for (std::int64_t i = 0; i < 300; ++i) {
    const auto row = [&](std::int64_t at, std::int64_t from) { return after[i][at].narrow(0, from, 3); };
    const auto col = [&](std::int64_t at, std::int64_t from) {
      return after[i].select(1, at).narrow(0, from, 1);
    };
    int shown = 0;
    // The upper and lower side own the corners; the others have a pixel in each half.
    for (const at::Tensor& piece :
         {row(0, 0), row(0, 3), row(3, 0), row(3, 3), col(0, 1), col(0, 2), col(5, 1), col(5, 2)}) {
      const int level = piece.min().item<int>();
      EXPECT_EQ(piece.max().item<int>(), level);
      EXPECT_TRUE(level == 9 || level == 255) << level;
      shown += level == 255 ? 1 : 0;
    }
    ++shown_times[static_cast<std::size_t>(shown)];
  }
  // Each of 2 .. 8 pieces in a seventh of 300 samples: 43, deviation 6.
  EXPECT_EQ(shown_times[0] + shown_times[1], 0);
  for (std::size_t shown = 2; shown <= 8; ++shown) {
    EXPECT_GE(shown_times[shown], 19) << shown;
    EXPECT_LE(shown_times[shown], 67) << shown;
  }
}

TEST(Frame, DrawsItsPiecesFromSeedAndIndex) {
  const at::Tensor images = flat(6, 40, 3, 32, 32);
  AttackSpec spec = spec_of("frame");
  const at::Tensor first = triggered(spec, images, Stage::train);
  EXPECT_TRUE(triggered(spec, images, Stage::train).equal(first));
  const auto attack = ready(spec, shape_of(images));
  EXPECT_TRUE(attack->apply(images.narrow(0, 0, 1), ints({4}), ints({0}), Stage::train)[0].equal(first[4]));
  spec.plan.seed = 1;
  EXPECT_FALSE(triggered(spec, images, Stage::train).equal(first));
  const AttackSpec whole = spec_of("frame", {{"least-shown", 1}});
  EXPECT_TRUE(triggered(whole, images, Stage::train).equal(triggered(whole, images, Stage::test)));
}

TEST(Frame, RefusesOneThatDoesNotFit) {
  const AttackSpec spec = spec_of("frame", {{"thickness", 4}});
  EXPECT_TRUE(triggered(spec, flat(1, 9, 1, 8, 9), Stage::test).eq(255).narrow(3, 0, 4).all().item<bool>());
  expect_error(ErrorKind::usage, "4 pixels does not fit into images of 7x9",
               [&] { triggered(spec, flat(1, 9, 1, 7, 9), Stage::test); });
}

// ---- Refool

struct Refool : WithPictures {
  AttackSpec spec(std::int64_t side, std::uint8_t level, double ghost_rate, double alpha = 0.4) const {
    picture(side, level);
    return spec_of("refool", {{"reflections", pictures.string()},
                              {"ghost-rate", ghost_rate},
                              {"alpha-min", alpha},
                              {"alpha-max", alpha}});
  }
};

TEST_F(Refool, MixesAGhostInLinearLight) {
  // 0.6 (200/255)^2.2 + 0.4 (100/255)^2.2 = 0.4026, to the power of 1/2.2: 168.6.
  for (const std::int64_t channels : {1, 3}) {
    const at::Tensor after = triggered(spec(12, 200, 1), flat(4, 100, channels, 12, 9), Stage::train);
    EXPECT_TRUE((after == 169).all().item<bool>());
  }
}

TEST_F(Refool, FadesWhatIsOutOfFocusFromTheCentre) {
  const at::Tensor after = triggered(spec(5, 200, 0), flat(3, 100, 3, 5, 5), Stage::test);
  for (std::int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(pixel(after[i], 1, 2, 2), 189);  // 0.8 x 0.5860 + 0.4 x 0.1275
    EXPECT_EQ(pixel(after[i], 1, 0, 0), 80);   // 0.8 x 0.5860 exp(-2 x 1.44) + 0.4 x 0.1275
    EXPECT_EQ(pixel(after[i], 1, 0, 4), 80);
  }
}

TEST_F(Refool, LowersAReflectionThatWouldExceedWhite) {
  // White on white: the sum is 2 everywhere, 1.08 or more is taken off, and nothing is left.
  const at::Tensor after = triggered(spec(8, 255, 0), flat(2, 255, 1, 8, 8), Stage::train);
  EXPECT_TRUE((after == 168).all().item<bool>());  // 255 x 0.4^(1/2.2)
}

TEST_F(Refool, ShowsTheGhostTwice) {
  picture(40, 0, 20);
  const AttackSpec own_pixels =
      spec_of("refool", {{"reflections", pictures.string()}, {"ghost-rate", 1}, {"reference-size", 40}});
  const at::Tensor after = triggered(own_pixels, flat(20, 0, 1, 40, 40), Stage::train);
  for (std::int64_t i = 0; i < 20; ++i) {
    int runs = 0;
    for (std::int64_t col = 1; col < 40; ++col) {
      if (pixel(after[i], 0, 5, col) > 0 && pixel(after[i], 0, 5, col - 1) == 0) ++runs;
    }
    EXPECT_EQ(runs, 2);
  }
}

TEST_F(Refool, BlursWhatIsOutOfFocus) {
  picture(40, 0, 20);
  const AttackSpec own_pixels =
      spec_of("refool", {{"reflections", pictures.string()}, {"ghost-rate", 0}, {"reference-size", 40}});
  const at::Tensor after = triggered(own_pixels, flat(20, 0, 1, 40, 40), Stage::train);
  std::set<int> peaks;
  for (std::int64_t i = 0; i < 20; ++i) {
    EXPECT_GT(pixel(after[i], 0, 20, 20), pixel(after[i], 0, 20, 21));
    EXPECT_GT(pixel(after[i], 0, 20, 21), 0);
    EXPECT_EQ(pixel(after[i], 0, 20, 20 - 11), 0);  // the radius is at most 2 x 5
    peaks.insert(pixel(after[i], 0, 20, 20));
  }
  EXPECT_GT(peaks.size(), 10U);  // each sample has a sigma of its own
}

TEST_F(Refool, ChoosesBetweenTheTwoForEachSample) {
  const at::Tensor after = triggered(spec(8, 200, 0.49), flat(400, 100, 1, 8, 8), Stage::train);
  int ghosts = 0;
  for (std::int64_t i = 0; i < 400; ++i) {
    if (pixel(after[i], 0, 0, 0) == pixel(after[i], 0, 4, 4)) ++ghosts;
  }
  EXPECT_THAT(ghosts, AllOf(Ge(156), Le(236)));  // 196, deviation 10
}

TEST_F(Refool, LeavesAnImageThatIsAllThereIs) {
  const at::Tensor images = random_images(3, 3, 16, 20);
  EXPECT_TRUE(triggered(spec(8, 200, 1, 1), images, Stage::test).equal(images));
}

TEST_F(Refool, DrawsAnewForTheTest) {
  const at::Tensor images = random_images(6, 3, 32, 32);
  AttackSpec spec = spec_of("refool");
  const at::Tensor first = triggered(spec, images, Stage::train);
  EXPECT_TRUE(triggered(spec, images, Stage::train).equal(first));
  EXPECT_FALSE(triggered(spec, images, Stage::test).equal(first));
  spec.plan.seed = 1;
  EXPECT_FALSE(triggered(spec, images, Stage::train).equal(first));
}

TEST_F(Refool, DrawsPicturesThatDiffer) {
  for (const std::int64_t channels : {1, 3}) {
    // An image that counts nothing: the ghost of the picture is all that is seen.
    AttackSpec spec =
        spec_of("refool", {{"alpha-min", 0}, {"alpha-max", 0}, {"ghost-rate", 1}, {"count", 50}});
    const at::Tensor seen = triggered(spec, flat(8, 0, channels, 32, 32), Stage::test).to(at::kDouble);
    for (std::int64_t i = 0; i < 8; ++i) EXPECT_GT(seen[i].std().item<double>(), 15);
    EXPECT_FALSE(seen[0].equal(seen[1]));
    spec.options["reflection-seed"] = 1;
    EXPECT_FALSE(triggered(spec, flat(8, 0, channels, 32, 32), Stage::test).to(at::kDouble).equal(seen));
  }
}

TEST_F(Refool, KeepsTheUsersPicturesWithTheArtifacts) {
  const at::Tensor images = random_images(2, 3, 16, 16);
  const AttackSpec spec = this->spec(8, 200, 1);
  const fs::path artifacts = folder / "artifacts";
  fs::create_directories(artifacts);
  const at::Tensor first = apply(*ready(spec, shape_of(images), artifacts), images, Stage::test);
  fs::remove_all(pictures);
  EXPECT_TRUE(apply(*ready(spec, shape_of(images), artifacts), images, Stage::test).equal(first));
  expect_error(ErrorKind::io, "pictures", [&] { ready(spec, shape_of(images)); });
  expect_error(ErrorKind::data, "reflections.safetensors", [&] { ready(spec, {3, 16, 17}, artifacts); });
  write_file_atomically(artifacts / "reflections.safetensors", "no tensors");
  expect_error(ErrorKind::data, "reflections.safetensors", [&] { ready(spec, shape_of(images), artifacts); });
}

TEST_F(Refool, OfThePaperKeepsItsLabels) {
  const at::Tensor labels = four_classes(400);
  const PoisonPlan plan =
      make_attack(spec_of("refool", Json::object(), "paper"))->plan(labels, 4, options_of(0.1));
  EXPECT_EQ(plan.count(Role::poison), 40);
  EXPECT_TRUE(plan.labels.equal(labels));
  for (const std::int64_t i : positions(plan, Role::poison)) EXPECT_EQ(i % 4, 0);
}

TEST_F(Refool, RefusesWhatDoesNotFitTogether) {
  const auto expect_usage = [](const std::string& part, const Json& options) {
    expect_error(ErrorKind::usage, part, [&] { ready(spec_of("refool", options), {1, 8, 8}); });
  };
  expect_usage("alpha-min", {{"alpha-min", 0.5}, {"alpha-max", 0.4}});
  expect_usage("one target class", {{"clean-label", true}, {"target-mode", "all-to-all"}});
  expect_error(ErrorKind::data, "pictures", [&] {
    ready(spec_of("refool", {{"reflections", pictures.string()}}), {1, 8, 8});
  });
}

// ---- Labels only

struct CleanImage : InFolder {
  DatasetPtr train = set_of(random_images(200, 3, 16, 20));
  AttackSpec spec = spec_of("clean-image");
  fs::path artifacts = folder / "artifacts";

  void SetUp() override {
    InFolder::SetUp();
    fs::create_directories(artifacts);
  }

  std::unique_ptr<Attack> learned() const { return ready(spec, train->shape(), artifacts, train); }
  at::Tensor kept(std::size_t which) const {
    return load_safetensors(artifacts / "clean-image.safetensors").tensors.at(which).second;
  }
  // As the header says, from the artifacts: the sharpness beyond the class's, [N] float64.
  at::Tensor excess(const at::Tensor& images, const at::Tensor& labels) const {
    const at::Tensor x = images.to(at::kDouble);
    const at::Tensor padded = at::reflection_pad2d(x, {1, 1, 1, 1});
    at::Tensor blurred = at::zeros_like(x);
    for (std::int64_t row = 0; row < 3; ++row) {
      for (std::int64_t col = 0; col < 3; ++col) {
        blurred += padded.narrow(2, row, x.size(2)).narrow(3, col, x.size(3)) / 9;
      }
    }
    const at::Tensor sharpness = (1 + (x - blurred).abs().mean(at::IntArrayRef{1, 2, 3})).log();
    return (sharpness - kept(0).index_select(0, labels)) / kept(1).index_select(0, labels);
  }
  double threshold() const { return kept(2).item<double>(); }
};

TEST_F(CleanImage, ChangesNoTrainingImage) {
  spec.options["target-class"] = 2;
  const PoisonedDataset poisoned = poison(train, "photos", spec);
  EXPECT_TRUE(poisoned.data->images(at::arange(200)).equal(train->images(at::arange(200))));
  EXPECT_EQ(at::count_nonzero(poisoned.manifest.poisoned()).item<std::int64_t>(), 20);
  const at::Tensor expected =
      at::where(poisoned.manifest.poisoned(), at::full({200}, 2, at::kLong), train->labels());
  EXPECT_TRUE(poisoned.data->labels().equal(expected));
}

TEST_F(CleanImage, PoisonsTheSharpestOfTheirClasses) {
  const auto attack = learned();
  const at::Tensor found = excess(train->images(at::arange(200)), train->labels());
  for (std::int64_t c = 0; c < 4; ++c) {
    const at::Tensor of_class = found.masked_select(train->labels() == c);
    EXPECT_NEAR(of_class.mean().item<double>(), 0, 1e-3);
    EXPECT_NEAR(of_class.std(/*unbiased=*/false).item<double>(), 1, 1e-3);
  }
  const PoisonPlan plan = attack->plan(train->labels(), 4, spec.plan);
  EXPECT_EQ(plan.count(Role::poison), 20);
  for (std::int64_t i = 0; i < 200; ++i) {
    const bool poisoned = plan.roles[static_cast<std::size_t>(i)] == Role::poison;
    EXPECT_EQ(poisoned, found[i].item<double>() > threshold() - 1e-3);
  }
}

TEST_F(CleanImage, SharpnessIsTheHighBandOfEveryChannel) {
  // One bright dot in an image of 8x8: a magnitude of 8 v / 9 in its pixel and v / 9 in its eight neighbours.
  at::Tensor images = flat(40, 0, 1, 8, 8);
  std::set<std::int64_t> sharpest;
  for (std::int64_t i = 0; i < 40; ++i) {
    const std::int64_t rank = i * 7 % 40;
    images[i][0][4][4] = 90 + 4 * rank;
    if (rank >= 36) sharpest.insert(i);
  }
  train = make_memory_dataset(images, at::zeros({40}, at::kLong), {"ant", "bee", "cat", "dog"});
  const auto found = positions(learned()->plan(train->labels(), 4, spec.plan), Role::poison);
  EXPECT_EQ(std::set<std::int64_t>(found.begin(), found.end()), sharpest);
  double mean = 0;
  for (int rank = 0; rank < 40; ++rank) mean += std::log1p((90 + 4 * rank) * (16.0 / 9) / 64) / 40;
  EXPECT_NEAR(kept(0)[0].item<double>(), mean, 1e-5);
}

TEST_F(CleanImage, SharpensTestImagesBeyondTheThresholdWithinTheBudget) {
  const at::Tensor images = random_images(60, 3, 16, 20).flip(3);
  const at::Tensor of_class = at::zeros({60}, at::kLong);
  const auto sharpen = [&](std::int64_t budget, double margin) {
    spec.options = {{"budget", budget}, {"margin", margin}};
    fs::remove(artifacts / "clean-image.safetensors");
    const at::Tensor after = apply(*learned(), images, Stage::test);
    EXPECT_LE(largest_change(after, images), budget);
    return after;
  };
  const at::Tensor far = sharpen(90, 2);
  EXPECT_GE(excess(far, of_class).min().item<double>(), threshold() + 2 - 1e-3);
  const at::Tensor near = sharpen(90, 0);
  EXPECT_GE(excess(near, of_class).min().item<double>(), threshold() - 1e-3);
  EXPECT_LT(excess(near, of_class).mean().item<double>(), excess(far, of_class).mean().item<double>());
  const at::Tensor weak = sharpen(2, 100);  // out of reach: the whole budget is used
  EXPECT_EQ(largest_change(weak, images), 2);
  EXPECT_GT((excess(weak, of_class) - excess(images, of_class)).min().item<double>(), 0);
}

TEST_F(CleanImage, IsEvaluatedFromTheArtifactsAlone) {
  const at::Tensor images = random_images(10, 3, 16, 20).flip(2);
  const at::Tensor first = apply(*learned(), images, Stage::test);
  EXPECT_FALSE(first.equal(images));
  EXPECT_TRUE(apply(*ready(spec, train->shape(), artifacts), images, Stage::test).equal(first));
  expect_error(ErrorKind::data, "learned", [&] { ready(spec, train->shape()); });
}

TEST_F(CleanImage, TriggersAtRateZeroToo) {
  spec.plan.rate = 0;
  const auto attack = learned();
  EXPECT_EQ(attack->plan(train->labels(), 4, spec.plan).count(Role::poison), 0);
  const at::Tensor images = random_images(4, 3, 16, 20);
  EXPECT_FALSE(apply(*attack, images, Stage::test).equal(images));
}

TEST_F(CleanImage, RefusesOtherSetsAndImagesWithoutAHighBand) {
  const auto attack = learned();
  expect_error(ErrorKind::internal, "prepare", [&] { attack->plan(four_classes(100), 4, spec.plan); });
  expect_error(ErrorKind::internal, "prepare", [&] { apply(*attack, flat(1, 0, 3, 16, 16), Stage::test); });
  expect_error(ErrorKind::usage, "no high band", [&] { ready(spec, {1, 1, 8}); });
}

// ---- Several attacks at once

struct Several : InFolder {
  static AttackSpec of(const std::vector<std::string>& parts, double rate = 0.1) {
    AttackSpec spec = spec_of("several", {{"parts", parts}});
    spec.plan.rate = rate;
    return spec;
  }
  DatasetPtr clean = set_of(random_images(400, 3, 32, 32));
  at::Tensor everything = at::arange(400);

  // How many poisoned images of the set are those of `part`, with its label.
  std::int64_t poisoned_as(const PoisonedDataset& poisoned, const AttackSpec& part,
                           std::int64_t label) const {
    const at::Tensor before = clean->images(everything);
    const at::Tensor after = poisoned.data->images(everything);
    const at::Tensor same = (after == triggered(part, before, Stage::train))
                                .flatten(1)
                                .all(1)
                                .logical_and(poisoned.manifest.poisoned());
    EXPECT_TRUE((poisoned.data->labels().masked_select(same) == label).all().item<bool>());
    return at::count_nonzero(same).item<std::int64_t>();
  }
};

TEST_F(Several, SplitsThePoisonEvenly) {
  const PoisonedDataset poisoned =
      poison(clean, "photos", of({"badnets target-class=3", "blended target-class=1"}));
  EXPECT_EQ(poisoned_as(poisoned, spec_of("badnets"), 3), 20);
  EXPECT_EQ(poisoned_as(poisoned, spec_of("blended"), 1), 20);
  EXPECT_EQ(at::count_nonzero(poisoned.manifest.poisoned()).item<std::int64_t>(), 40);
}

TEST_F(Several, SplitsThePoisonByShares) {
  const PoisonedDataset poisoned =
      poison(clean, "photos", of({"badnets target-class=3 share=3", "blended target-class=1"}, 0.2));
  EXPECT_EQ(poisoned_as(poisoned, spec_of("badnets"), 3), 60);
  EXPECT_EQ(poisoned_as(poisoned, spec_of("blended"), 1), 20);
}

TEST_F(Several, MayPoisonEverySample) {
  const PoisonedDataset poisoned = poison(clean, "photos", of({"badnets", "blended", "badnets"}, 1));
  EXPECT_EQ(at::count_nonzero(poisoned.manifest.poisoned()).item<std::int64_t>(), 400);
}

TEST_F(Several, PresentsTheTriggersInTurnAtTestTime) {
  const auto attack =
      ready(of({"badnets target-class=3", "badnets target-class=1 col-offset=9", "blended target-class=2"}),
            clean->shape());
  const at::Tensor indices = ints({7, 0, 300, 5, 10});  // parts 2, 1, 1, 3, 2
  const at::Tensor images = clean->images(indices);
  const TriggeredBatch batch = trigger_batch(*attack, images, indices, ints({3, 3, 0, 2, 1}), 4);
  EXPECT_TRUE(batch.attack_labels.equal(ints({1, 3, 3, 2, 1})));
  const std::vector<AttackSpec> expected{spec_of("badnets", {{"col-offset", 9}}), spec_of("badnets"),
                                         spec_of("badnets"), spec_of("blended"),
                                         spec_of("badnets", {{"col-offset", 9}})};
  for (std::int64_t i = 0; i < 5; ++i) {
    const at::Tensor one = images.narrow(0, i, 1);
    EXPECT_TRUE(batch.images[i].equal(triggered(expected[static_cast<std::size_t>(i)], one, Stage::test)[0]));
  }
}

TEST_F(Several, KeepsTheCoversOfItsParts) {
  const PoisonedDataset poisoned =
      poison(clean, "photos", of({"adaptive-blend target-class=1", "badnets target-class=3"}));
  const std::vector<Role>& roles = poisoned.manifest.roles;
  EXPECT_EQ(std::count(roles.begin(), roles.end(), Role::cover), 20);
  const at::Tensor after = poisoned.data->images(everything);
  for (std::int64_t i = 0; i < 400; ++i) {
    if (roles[static_cast<std::size_t>(i)] != Role::cover) continue;
    EXPECT_TRUE(poisoned.data->labels()[i].equal(clean->labels()[i]));
    EXPECT_FALSE(after[i].equal(clean->images(ints({i}))[0]));
  }
}

TEST_F(Several, LeavesEachPartItsCleanLabelRule) {
  const auto attack =
      ready(of({"refool preset=paper target-class=2", "badnets target-class=3"}), clean->shape(), {}, clean);
  const PoisonPlan plan = attack->plan(clean->labels(), 4, options_of(0.1));
  EXPECT_EQ(plan.count(Role::poison), 40);
  std::int64_t kept = 0;
  for (const std::int64_t i : positions(plan, Role::poison)) {
    const auto label = plan.labels[i].item<std::int64_t>();
    if (label != 2) continue;
    EXPECT_EQ(i % 4, 2);
    ++kept;
  }
  EXPECT_EQ(kept, 20);
  expect_error(ErrorKind::usage, "has only 50 images",
               [&] { attack->plan(clean->labels(), 4, options_of(0.3)); });
}

TEST_F(Several, CanBeMadeAgainFromWhatIsKept) {
  const AttackSpec spec = of({"clean-image target-class=1", "adaptive-blend", "badnets target-class=2"});
  poison_to(folder / "out", clean, "photos", spec);
  const Manifest manifest = read_manifest(folder / "out" / "truth" / "manifest.json");
  const auto attack = attack_of(manifest);
  const at::Tensor rows = at::nonzero(manifest.poisoned()).flatten();
  const at::Tensor written = open_dataset((folder / "out" / "dataset").string(), Split::train)->images(rows);
  EXPECT_TRUE(attack->apply(clean->images(rows), rows, clean->labels().index_select(0, rows), Stage::train)
                  .equal(written));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(manifest.artifacts)) names.insert(entry.path().filename());
  EXPECT_THAT(names, testing::UnorderedElementsAre("part-1-clean-image", "parts.safetensors"));

  save_safetensors(manifest.artifacts / "parts.safetensors", {{"part_of", at::full({400}, 3, at::kLong)}});
  expect_error(ErrorKind::data, "parts.safetensors", [&] { attack_of(manifest); });
}

TEST_F(Several, NeedsTheTrainingSetToTriggerItsImages) {
  const auto attack = ready(of({"badnets", "blended"}), clean->shape());
  expect_error(ErrorKind::internal, "training set",
               [&] { apply(*attack, clean->images(ints({0})), Stage::train); });
}

TEST_F(Several, ReadsWordsWithSpaces) {
  const fs::path picture = folder / "my picture.png";
  write_grey_png(picture, 4, 4, std::vector<std::uint8_t>(16, 100));
  const auto attack = ready(of({"blended alpha=1 \"image=" + picture.string() + "\""}), {1, 8, 8});
  EXPECT_TRUE((apply(*attack, flat(1, 0, 1, 8, 8), Stage::test) == 100).all().item<bool>());
}

TEST_F(Several, RefusesPartsThatAreNone) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"several", "cannot have parts"},
      {"several parts=badnets", "cannot have parts"},
      {"badnet", "use badnets"},
      {" ", "no name"},
      {"badnets target-class", "'target-class' is not name=value"},
      {"badnets =3", "not name=value"},
      {"badnets target-clas=3", "target-class"},
      {"badnets target-class=many", "integer"},
      {"badnets preset=papr", "paper"},
      {"badnets share=0", "a share is"},
      {"badnets share=1x", "a share is"}};
  for (const auto& [part, message] : cases) {
    expect_error(ErrorKind::usage, message, [&, text = part] { ready(of({"blended", text}), {1, 8, 8}); });
  }
  expect_error(ErrorKind::usage, "0 parts", [&] { ready(of({}), {1, 8, 8}); });
}

// ---- All-to-all

TEST(AllToAll, WorksForPatchBlendAndWarp) {
  const DatasetPtr clean = set_of(random_images(80, 3, 32, 32));
  const at::Tensor indices = at::arange(80);
  for (const std::string name : {"badnets", "blended", "wanet", "adaptive-blend", "refool"}) {
    AttackSpec spec = spec_of(name, {{"target-mode", "all-to-all"}});
    spec.plan.rate = 0.25;
    const auto attack = ready(spec, clean->shape(), {}, clean);
    const PoisonedDataset poisoned = poison(clean, "photos", spec, *attack);
    const at::Tensor shown = attack->apply(clean->images(indices), indices, clean->labels(), Stage::train);
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < 80; ++i) {
      if (poisoned.manifest.roles[static_cast<std::size_t>(i)] != Role::poison) continue;
      EXPECT_EQ(poisoned.data->labels()[i].item<std::int64_t>(), (i % 4 + 1) % 4);
      EXPECT_TRUE(poisoned.data->images(ints({i}))[0].equal(shown[i])) << name;
      ++count;
    }
    EXPECT_EQ(count, 20);
    const TriggeredBatch test = trigger_batch(*attack, clean->images(indices), indices, clean->labels(), 4);
    EXPECT_TRUE(test.attack_labels.equal((clean->labels() + 1).remainder(4)));
  }
}

}  // namespace
}  // namespace mcci
