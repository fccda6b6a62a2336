#include "mcci/data/loader.hpp"

#include <algorithm>
#include <atomic>
#include <optional>
#include <set>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// n images of 2x3 pixels: 1, 2, 3, ... modulo 251, in one channel.
DatasetPtr counting_images(std::int64_t n) {
  const at::Tensor images =
      at::arange(n * 6, at::kLong).remainder(251).add(1).to(at::kByte).reshape({n, 1, 2, 3});
  return make_memory_dataset(images, at::arange(n, at::kLong).remainder(3), {"a", "b", "c"});
}

std::vector<std::unique_ptr<Batch>> drain(Loader& loader) {
  std::vector<std::unique_ptr<Batch>> batches;
  while (auto batch = loader.next()) batches.push_back(std::move(batch));
  return batches;
}

struct Epoch {
  std::int64_t batch_size = 4;
  std::int64_t workers = 1;
  std::int64_t epoch = 0;
  std::int64_t first_batch = 0;
  bool drop_single = false;
  bool flip = true;
  std::int64_t crop_pad = 1;
};

std::unique_ptr<Loader> make_loader(const DatasetPtr& data, const Epoch& wanted) {
  LoaderOptions options;
  options.batch_size = wanted.batch_size;
  options.workers = wanted.workers;
  AugmentOptions augmentation;
  augmentation.flip = wanted.flip;
  augmentation.crop_pad = wanted.crop_pad;
  const std::uint64_t seed = 5;
  return std::make_unique<Loader>(data, epoch_order(data->size(), seed, wanted.epoch), options, augmentation,
                                  seed, wanted.epoch, wanted.first_batch, wanted.drop_single);
}

std::vector<std::unique_ptr<Batch>> load(const DatasetPtr& data, const Epoch& wanted) {
  return drain(*make_loader(data, wanted));
}

at::Tensor images_of(const std::vector<std::unique_ptr<Batch>>& batches) {
  std::vector<at::Tensor> parts;
  for (const auto& batch : batches) parts.push_back(batch->images);
  return at::cat(parts);
}

at::Tensor indices_of(const std::vector<std::unique_ptr<Batch>>& batches) {
  std::vector<at::Tensor> parts;
  for (const auto& batch : batches) parts.push_back(batch->indices);
  return at::cat(parts);
}

TEST(EpochOrder, IsAPermutationOfSeedAndEpoch) {
  const at::Tensor order = epoch_order(100, 1, 2);
  EXPECT_TRUE(std::get<0>(order.sort()).equal(natural_order(100)));
  EXPECT_TRUE(order.equal(epoch_order(100, 1, 2)));
  EXPECT_FALSE(order.equal(epoch_order(100, 1, 3)));
  EXPECT_FALSE(order.equal(epoch_order(100, 2, 2)));
  EXPECT_FALSE(order.equal(natural_order(100)));
  EXPECT_EQ(epoch_order(0, 1, 2).size(0), 0);
}

TEST(ToUnit, DividesBy255) {
  const at::Tensor bytes = at::arange(256, at::kByte).view({1, 1, 16, 16});
  const at::Tensor unit = to_unit(bytes);
  EXPECT_EQ(unit.scalar_type(), at::kFloat);
  for (std::int64_t i = 0; i < 256; ++i) {
    EXPECT_EQ(unit.flatten()[i].item<float>(), static_cast<float>(i) / 255.0F) << i;
  }
}

// -----------------------------------------------------------------------------------------------------
// augmentation

TEST(Augment, MirrorsAboutHalfOfTheImages) {
  const DatasetPtr data = counting_images(2000);
  const at::Tensor indices = natural_order(2000);
  const at::Tensor images = data->images(indices);
  const at::Tensor mirrored = images.flip({3});
  const at::Tensor result = augment(images, indices, AugmentOptions(), 1, 0);
  std::int64_t flips = 0;
  for (std::int64_t i = 0; i < 2000; ++i) {
    const bool flipped = result[i].equal(mirrored[i]);
    ASSERT_TRUE(flipped || result[i].equal(images[i])) << i;
    flips += flipped;
  }
  EXPECT_NEAR(static_cast<double>(flips), 1000, 5 * 22.4);  // five deviations of a fair coin
}

// The definition, pixel by pixel: which of the possible changes, if any, gives this image?
std::optional<std::array<std::int64_t, 3>> find_change(const at::Tensor& image, const at::Tensor& result,
                                                       std::int64_t pad) {
  const auto in = image.accessor<float, 3>();
  const auto out = result.accessor<float, 3>();
  const std::int64_t channels = image.size(0), height = image.size(1), width = image.size(2);
  for (const std::int64_t mirror : {0, 1}) {
    for (std::int64_t dy = -pad; dy <= pad; ++dy) {
      for (std::int64_t dx = -pad; dx <= pad; ++dx) {
        bool same = true;
        for (std::int64_t c = 0; c < channels; ++c) {
          for (std::int64_t y = 0; y < height; ++y) {
            for (std::int64_t x = 0; x < width; ++x) {
              const std::int64_t from_y = y + dy, from_x = (mirror ? width - 1 - x : x) + dx;
              const bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
              same = same && out[c][y][x] == (inside ? in[c][from_y][from_x] : 0.0F);
            }
          }
        }
        if (same) return {{mirror, dy, dx}};
      }
    }
  }
  return std::nullopt;
}

TEST(Augment, CropsFromABlackBorder) {
  AugmentOptions options;
  options.crop_pad = 2;
  const at::Tensor indices = natural_order(400);
  const at::Tensor images = at::arange(1, 400 * 40 + 1, at::kFloat).reshape({400, 2, 4, 5});
  const at::Tensor original = images.clone();
  const at::Tensor result = augment(images, indices, options, 9, 3);
  EXPECT_TRUE(images.equal(original));
  std::set<std::array<std::int64_t, 3>> seen;
  for (std::int64_t i = 0; i < 400; ++i) {
    const auto change = find_change(images[i], result[i], 2);
    ASSERT_TRUE(change) << i;
    seen.insert(*change);
  }
  EXPECT_GE(seen.size(), 48U);  // of 2 x 5 x 5; 400 draws miss 0.015 of them on average
}

TEST(Augment, MayShiftAnImageOutOfView) {
  AugmentOptions options;
  options.crop_pad = 64;
  const at::Tensor images = at::arange(1, 100 * 6 + 1, at::kFloat).reshape({100, 1, 2, 3});
  const at::Tensor result = augment(images, natural_order(100), options, 1, 0);
  for (std::int64_t i = 0; i < 100; ++i) {
    EXPECT_TRUE(result[i].eq(0).all().item<bool>() || find_change(images[i], result[i], 64)) << i;
  }
}

TEST(Augment, IsTheSameOnBytesAndFloats) {
  AugmentOptions options;
  options.crop_pad = 1;
  const at::Tensor indices = epoch_order(50, 1, 1);
  const at::Tensor images = counting_images(50)->images(indices);
  EXPECT_TRUE(augment(images, indices, options, 4, 2)
                  .to(at::kFloat)
                  .equal(augment(images.to(at::kFloat), indices, options, 4, 2)));
}

TEST(Augment, DependsOnSeedEpochAndIndexAlone) {
  const at::Tensor indices = epoch_order(60, 1, 1);
  const at::Tensor images = counting_images(60)->images(indices);
  const AugmentOptions options;
  const at::Tensor whole = augment(images, indices, options, 4, 2);
  const at::Tensor tail = augment(images.slice(0, 37), indices.slice(0, 37), options, 4, 2);
  EXPECT_TRUE(whole.slice(0, 37).equal(tail));
  EXPECT_FALSE(whole.equal(augment(images, indices, options, 4, 3)));
  EXPECT_FALSE(whole.equal(augment(images, indices, options, 5, 2)));
  EXPECT_FALSE(whole.equal(augment(images, indices.add(60), options, 4, 2)));
  EXPECT_TRUE(augment(images, indices, AugmentOptions::none(), 4, 2).equal(images));
}

TEST(Augment, RefusesOtherTensors) {
  const at::Tensor images = counting_images(2)->images(natural_order(2));
  EXPECT_THROW(augment(images[0], natural_order(2), AugmentOptions(), 1, 0), Error);
  EXPECT_THROW(augment(images, natural_order(3), AugmentOptions(), 1, 0), Error);
  EXPECT_THROW(augment(images, natural_order(2).to(at::kInt), AugmentOptions(), 1, 0), Error);
  EXPECT_THROW(augment(images.to(at::kDouble), natural_order(2), AugmentOptions(), 1, 0), Error);
}

// -----------------------------------------------------------------------------------------------------------
// loader

TEST(Loader, GivesEverySampleOnceWithItsLabel) {
  const DatasetPtr data = counting_images(10);
  Epoch wanted;
  wanted.flip = false;
  wanted.crop_pad = 0;
  const auto batches = load(data, wanted);
  ASSERT_EQ(batches.size(), 3U);
  EXPECT_EQ(batches[0]->images.size(0), 4);
  EXPECT_EQ(batches[2]->images.size(0), 2);
  EXPECT_TRUE(indices_of(batches).equal(epoch_order(10, 5, 0)));
  for (const auto& batch : batches) {
    EXPECT_EQ(batch->images.scalar_type(), at::kFloat);
    EXPECT_TRUE(batch->images.is_contiguous());
    EXPECT_TRUE(batch->images.equal(to_unit(data->images(batch->indices))));
    EXPECT_TRUE(batch->labels.equal(batch->indices.remainder(3)));
  }
}

TEST(Loader, GivesTheSameWithAnyNumberOfWorkers) {
  const DatasetPtr data = counting_images(101);
  Epoch wanted;
  const auto one = load(data, wanted);
  for (const std::int64_t workers : {3, 50}) {
    wanted.workers = workers;
    const auto many = load(data, wanted);
    ASSERT_EQ(many.size(), one.size());
    for (std::size_t b = 0; b < one.size(); ++b) {
      EXPECT_TRUE(many[b]->indices.equal(one[b]->indices));
      EXPECT_TRUE(many[b]->labels.equal(one[b]->labels));
      EXPECT_TRUE(many[b]->images.equal(one[b]->images));
    }
  }
}

TEST(Loader, GivesTheSameImagesWithAnyBatchSize) {
  const DatasetPtr data = counting_images(30);
  Epoch wanted;
  const at::Tensor expected = images_of(load(data, wanted));
  for (const std::int64_t batch_size : {1, 7, 30, 1000}) {
    wanted.batch_size = batch_size;
    EXPECT_TRUE(images_of(load(data, wanted)).equal(expected)) << batch_size;
  }
  wanted.epoch = 1;
  EXPECT_FALSE(images_of(load(data, wanted)).equal(expected));
}

TEST(Loader, ResumesWhereItStopped) {
  const DatasetPtr data = counting_images(30);
  Epoch wanted;
  const auto whole = load(data, wanted);
  wanted.first_batch = 3;
  const auto loader = make_loader(data, wanted);
  EXPECT_EQ(loader->batches(), 8);
  const auto tail = drain(*loader);
  ASSERT_EQ(tail.size(), 5U);
  for (std::size_t b = 0; b < tail.size(); ++b) EXPECT_TRUE(tail[b]->images.equal(whole[b + 3]->images));
  wanted.first_batch = 8;
  EXPECT_TRUE(load(data, wanted).empty());
}

TEST(Loader, LeavesOutALastBatchOfOneSample) {
  Epoch wanted;
  wanted.drop_single = true;
  EXPECT_EQ(make_loader(counting_images(9), wanted)->batches(), 2);
  EXPECT_EQ(load(counting_images(9), wanted).size(), 2U);
  EXPECT_EQ(load(counting_images(10), wanted).size(), 3U);
  EXPECT_EQ(load(counting_images(8), wanted).size(), 2U);
  EXPECT_TRUE(load(counting_images(1), wanted).empty());
  EXPECT_TRUE(load(counting_images(0), wanted).empty());
  wanted.drop_single = false;
  EXPECT_EQ(load(counting_images(9), wanted).size(), 3U);
  EXPECT_TRUE(load(counting_images(0), wanted).empty());
}

TEST(Loader, EndsForGood) {
  const auto loader = make_loader(counting_images(3), Epoch());
  EXPECT_TRUE(loader->next());
  EXPECT_FALSE(loader->next());
  EXPECT_FALSE(loader->next());
}

TEST(Loader, CanBeLeftAtAnyTime) {
  const DatasetPtr data = counting_images(200);
  for (int taken = 0; taken < 20; ++taken) {
    Epoch wanted;
    wanted.workers = 1 + taken % 4;
    const auto loader = make_loader(data, wanted);
    for (int i = 0; i < taken; ++i) EXPECT_TRUE(loader->next());
  }
}

// Refuses one sample and counts the batches that were asked for.
class Brittle : public Dataset {
 public:
  Brittle(DatasetPtr data, std::int64_t bad) : data_(std::move(data)), bad_(bad) {}
  const ImageShape& shape() const override { return data_->shape(); }
  const std::vector<std::string>& classes() const override { return data_->classes(); }
  const at::Tensor& labels() const override { return data_->labels(); }
  std::string name(std::int64_t index) const override { return data_->name(index); }
  at::Tensor images(const at::Tensor& indices) const override {
    ++asked;
    if (indices.eq(bad_).any().item<bool>()) throw Error(ErrorKind::data, "sample is bad", data_->name(bad_));
    return data_->images(indices);
  }
  mutable std::atomic<int> asked{0};

 private:
  DatasetPtr data_;
  std::int64_t bad_;
};

TEST(Loader, ThrowsErrorsOnTheCallersThreadAtTheirPlace) {
  const auto data = std::make_shared<Brittle>(counting_images(40), 25);
  for (const std::int64_t workers : {1, 3}) {
    LoaderOptions options;
    options.batch_size = 4;
    options.workers = workers;
    Loader loader(data, natural_order(40), options, AugmentOptions::none(), 0, 0);
    for (std::int64_t b = 0; b < 6; ++b) {
      const auto batch = loader.next();
      ASSERT_TRUE(batch);
      EXPECT_EQ(batch->indices[0].item<std::int64_t>(), 4 * b);
    }
    for (int again = 0; again < 2; ++again) {
      try {
        loader.next();
        FAIL() << "nothing was thrown";
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("#25"));
      }
    }
  }
}

TEST(Loader, DoesNotRunFarAhead) {
  const auto data = std::make_shared<Brittle>(counting_images(400), -1);
  LoaderOptions options;
  options.batch_size = 4;
  options.workers = 2;
  Loader loader(data, natural_order(400), options, AugmentOptions::none(), 0, 0);
  for (int taken = 1; taken <= 20; ++taken) {
    ASSERT_TRUE(loader.next());
    EXPECT_LE(data->asked, taken + 4);  // 2 per worker
  }
}

TEST(Loader, RefusesWhatCannotWork) {
  const DatasetPtr data = counting_images(8);
  const auto refused = [&](const at::Tensor& order, std::int64_t batch_size, std::int64_t workers,
                           std::int64_t first) {
    LoaderOptions options;
    options.batch_size = batch_size;
    options.workers = workers;
    EXPECT_THROW(Loader(data, order, options, AugmentOptions(), 0, 0, first), Error);
  };
  refused(natural_order(8), 0, 1, 0);
  refused(natural_order(8), 4, 0, 0);
  refused(natural_order(8), 4, 1, 3);
  refused(natural_order(8), 4, 1, -1);
  refused(natural_order(9), 4, 1, 0);
  refused(natural_order(8).reshape({2, 4}), 4, 1, 0);
}

TEST(ForEachBatch, VisitsAllInOrderUnchanged) {
  const DatasetPtr data = counting_images(10);
  std::vector<std::int64_t> sizes;
  std::vector<at::Tensor> images, indices;
  for_each_batch(data, 4, [&](const Batch& batch) {
    sizes.push_back(batch.labels.size(0));
    images.push_back(batch.images);
    indices.push_back(batch.indices);
  });
  EXPECT_THAT(sizes, ElementsAre(4, 4, 2));
  EXPECT_TRUE(at::cat(indices).equal(natural_order(10)));
  EXPECT_TRUE(at::cat(images).equal(to_unit(data->images(natural_order(10)))));
}

TEST(LoaderOptions, AreDeclaredWithTheirRanges) {
  LoaderOptions loader;
  AugmentOptions augmentation;
  OptionSet set;
  loader.declare(set);
  augmentation.declare(set);
  set.assign_text("batch-size", "64", Origin::command_line, "flags");
  set.assign_text("crop-pad", "4", Origin::command_line, "flags");
  EXPECT_EQ(loader.batch_size, 64);
  EXPECT_EQ(augmentation.crop_pad, 4);
  for (const auto& [name, value] : {std::pair{"batch-size", "0"}, {"workers", "0"}, {"crop-pad", "-1"}}) {
    EXPECT_THROW(set.assign_text(name, value, Origin::command_line, "flags"), Error);
  }
}

}  // namespace
}  // namespace mcci
