#include "mcci/data/procedural.hpp"

#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/optim/adam.h>

#include "mcci/core/hash.hpp"
#include "mcci/data/compose.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/data/scene.hpp"
#include "mcci/nn/backbone.hpp"
#include "tests/core/support.hpp"

namespace mcci {
namespace {

using test::expect_error;
using testing::Each;

at::Tensor scene(std::uint64_t seed, std::int64_t label, std::int64_t side) {
  at::Tensor pixels = at::empty({1, 3, side, side}, at::kByte);
  draw_scene(seed, label, side, pixels.data_ptr<std::uint8_t>());
  return pixels;
}

std::string hash_of(const at::Tensor& bytes) {
  const at::Tensor flat = bytes.contiguous();
  return sha256({static_cast<const char*>(flat.data_ptr()), flat.nbytes()});
}

at::Tensor first_images(const DatasetPtr& data, std::int64_t count) {
  return data->images(natural_order(count));
}

at::Tensor first_labels(const DatasetPtr& data, std::int64_t count) {
  return data->labels().narrow(0, 0, count);
}

// In percent.
double accuracy(const at::Tensor& scores, const at::Tensor& labels) {
  return 100 * scores.argmax(1).eq(labels).to(at::kDouble).mean().item<double>();
}

TEST(Scene, HasEveryFigureWithEveryTexture) {
  EXPECT_EQ(scene_classes().size(), 24U);
  EXPECT_EQ(scene_classes().front(), "plain disc");
  EXPECT_EQ(scene_classes().at(4), "striped ring");
  EXPECT_EQ(scene_classes().back(), "spotted crescent");
}

TEST(Scene, IsTheSameAtEverySize) {
  for (std::int64_t label = 0; label < 24; ++label) {
    const at::Tensor small = scene(7, label, 32).to(at::kFloat);
    const at::Tensor large = at::avg_pool2d(scene(7, label, 128).to(at::kFloat), 4);
    const at::Tensor other = scene(8, label, 32).to(at::kFloat);
    EXPECT_LT((small - large).abs().mean().item<double>(), 8)
        << scene_classes()[static_cast<std::size_t>(label)];
    EXPECT_GT((small - other).abs().mean().item<double>(), 20);
  }
}

// Without clutter before it, a figure's middle is of its ground and marks alone; a plain one has one colour.
TEST(Scene, FillsTheFigureWithItsTexture) {
  // The share of neighbouring pixels in the middle of a square that differ much.
  const auto edges = [](std::int64_t texture) {
    double sum = 0;
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      const at::Tensor middle = scene(seed, 6 + texture, 64).to(at::kFloat).slice(2, 24, 40).slice(3, 24, 40);
      const at::Tensor steps = (middle.slice(3, 1) - middle.slice(3, 0, -1)).abs().amax(1);
      sum += steps.gt(40).to(at::kDouble).mean().item<double>();
    }
    return sum / 40;
  };
  EXPECT_LT(2 * edges(0), edges(1));
  EXPECT_LT(2 * edges(0), edges(2));
}

TEST(Procedural, IsBalancedAndTheSameForEver) {
  const DatasetPtr train = make_procedural(Split::train), test = make_procedural(Split::test);
  EXPECT_EQ(train->size(), 48'000);
  EXPECT_EQ(test->size(), 9'600);
  EXPECT_EQ(train->shape(), (ImageShape{3, 32, 32}));
  EXPECT_EQ(train->name(17), "train#17");
  const at::Tensor counts = at::bincount(test->labels());
  EXPECT_TRUE(counts.eq(400).all().item<bool>());
  // A change of a pixel makes all results with this data set another experiment's.
  EXPECT_EQ(hash_of(first_images(train, 48)),
            "f452096f496dbf3e37504a01d1a734fff91710a7cad9aae49b32c02751c0d080");
  EXPECT_EQ(hash_of(first_images(test, 48)),
            "e6deb397b65cfffd8df952851321f21d09f1f98fb76e497c919ed7087f985c0b");
}

TEST(Procedural, DrawsASampleFromItsSplitIndexAndSeed) {
  const DatasetPtr train = make_procedural(Split::train), test = make_procedural(Split::test);
  const at::Tensor all = first_images(train, 50);
  const at::Tensor some = at::tensor({49, 3, 3}, at::kLong);
  EXPECT_TRUE(train->images(some).equal(all.index_select(0, some)));
  EXPECT_FALSE(all.equal(first_images(test, 50)));
  ProceduralOptions other;
  other.seed = 1;
  other.train_count = 60;
  const DatasetPtr another = make_procedural(Split::train, {}, other);
  EXPECT_EQ(another->size(), 60);
  EXPECT_FALSE(all.equal(first_images(another, 50)));
}

TEST(Procedural, OpensByNameWithSizeAndColour) {
  DatasetOptions options;
  options.image_size = 64;
  options.channels = 1;
  const DatasetPtr grey = open_dataset("procedural", Split::train, options);
  EXPECT_EQ(grey->shape(), (ImageShape{1, 64, 64}));
  EXPECT_EQ(first_images(grey, 2).sizes().vec(), (std::vector<std::int64_t>{2, 1, 64, 64}));
  EXPECT_TRUE(first_images(open_dataset("procedural", Split::test), 24)
                  .equal(first_images(make_procedural(Split::test), 24)));
}

TEST(Procedural, RefusesWhatItCannotDraw) {
  DatasetOptions options;
  options.image_size = 15;
  expect_error(ErrorKind::usage, {"3x15x15", "image-size"}, [&] { make_procedural(Split::train, options); });
  options = {};
  options.format = "folder";
  expect_error(ErrorKind::usage, {"no format", "./procedural"},
               [&] { open_dataset("procedural", Split::train, options); });
  ProceduralOptions none;
  none.test_count = 0;
  expect_error(ErrorKind::usage, {"0 images"}, [&] { make_procedural(Split::test, {}, none); });
}

// Accuracy in percent on test samples of the best line through `features` ([N,F] float64, of the training
// samples first): least squares to one-hot labels with a ridge.
double accuracy_of_a_line(const at::Tensor& features, const at::Tensor& labels, std::int64_t train) {
  const at::Tensor x = at::cat({features, at::ones({features.size(0), 1}, at::kDouble)}, 1);
  const at::Tensor known = x.narrow(0, 0, train);
  const at::Tensor y = at::one_hot(labels.narrow(0, 0, train), 24).to(at::kDouble);
  const at::Tensor ridge = 0.01 * static_cast<double>(train) * at::eye(x.size(1), at::kDouble);
  const at::Tensor weights = std::get<0>(at::linalg_inv_ex(known.t().mm(known) + ridge)).mm(known.t().mm(y));
  return accuracy(x.slice(0, train).mm(weights), labels.slice(0, train));
}

// Chance is 4.2 %. Neither pixels where they are nor colours tell a class, but what a small network sees
// does.
TEST(Procedural, ANetworkLearnsWhatNoLineCan) {
  ProceduralOptions options;
  options.seed = 3;
  options.train_count = 9'600;
  options.test_count = 1'200;
  const DatasetPtr train = make_procedural(Split::train, {}, options);
  const DatasetPtr test = make_procedural(Split::test, {}, options);
  const at::Tensor unseen = to_unit(first_images(test, test->size()));

  const at::Tensor seen = to_unit(first_images(train, 4'800));
  const at::Tensor labels = at::cat({first_labels(train, 4'800), test->labels()});
  const at::Tensor both = at::cat({seen, unseen});
  const at::Tensor pixels = at::avg_pool2d(both, 2).flatten(1).to(at::kDouble);
  EXPECT_LT(accuracy_of_a_line(pixels, labels, 4'800), 12);
  std::vector<at::Tensor> histogram;  // of each channel in eight bins
  for (int bin = 0; bin < 8; ++bin) {
    histogram.push_back(both.mul(7.999).floor().eq(bin).flatten(2).to(at::kDouble).mean(2));
  }
  EXPECT_LT(accuracy_of_a_line(at::cat(histogram, 1), labels, 4'800), 12);

  // Four classes, for the sake of time.
  const auto some = [](const DatasetPtr& data) {
    const at::Tensor chosen = at::tensor({0, 7, 17, 21}, at::kLong);
    return subset(data, at::isin(data->labels(), chosen).nonzero().squeeze(1));
  };
  const DatasetPtr few = some(train);
  const DatasetPtr few_unseen = some(test);
  at::manual_seed(1);
  BackboneConfig config;
  config.name = "resnet8";
  config.width = 8;
  config.outputs = 24;
  const std::shared_ptr<Backbone> network = make_backbone(config);
  torch::optim::Adam optimizer(network->parameters(), torch::optim::AdamOptions(5e-3));
  LoaderOptions batches;
  batches.batch_size = 32;
  network->train();
  for (std::int64_t epoch = 0; epoch < 6; ++epoch) {
    Loader loader(few, epoch_order(few->size(), 1, epoch), batches, AugmentOptions(), 1, epoch);
    while (const auto batch = loader.next()) {
      optimizer.zero_grad();
      torch::nn::functional::cross_entropy(network->forward(batch->images), batch->labels).backward();
      optimizer.step();
    }
  }
  network->eval();
  const torch::NoGradGuard no_grad;
  const at::Tensor scores = network->forward(to_unit(first_images(few_unseen, few_unseen->size())));
  EXPECT_GT(accuracy(scores, few_unseen->labels()), 55);
}

}  // namespace
}  // namespace mcci
