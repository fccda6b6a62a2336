#include "mcci/data/dataset.hpp"

#include <cmath>
#include <fstream>
#include <functional>
#include <sys/stat.h>
#include <unistd.h>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/full.h>
#include <ATen/ops/replication_pad2d.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "mcci/core/error.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/random.hpp"
#include "mcci/data/fit.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/imageio/image.hpp"
#include "tests/data/temp_folder.hpp"

namespace fs = std::filesystem;

namespace mcci {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

void expect_error(ErrorKind kind, const testing::Matcher<std::string>& text,
                  const std::function<void()>& action) {
  try {
    action();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    EXPECT_THAT(std::string(error.what()), text);
  }
}

std::vector<int> values(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kLong).contiguous().flatten();
  const auto* const data = flat.data_ptr<std::int64_t>();
  return std::vector<int>(data, data + flat.size(0));
}

at::Tensor bytes(const std::vector<int>& numbers, at::IntArrayRef sizes) {
  return at::tensor(numbers, at::kInt).to(at::kByte).reshape(sizes);
}

at::Tensor random_bytes(at::IntArrayRef sizes, std::uint64_t seed) {
  at::Tensor tensor = at::zeros(sizes, at::kByte);
  Rng rng(seed);
  auto* const data = tensor.data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) data[i] = static_cast<std::uint8_t>(rng.below(256));
  return tensor;
}

at::Tensor all_images(const DatasetPtr& data) { return data->images(natural_order(data->size())); }

std::vector<std::string> names(const DatasetPtr& data) {
  std::vector<std::string> result;
  for (std::int64_t i = 0; i < data->size(); ++i) result.push_back(data->name(i));
  return result;
}

// A PNG of one colour.
std::string png(std::int64_t height, std::int64_t width, const std::vector<std::uint8_t>& colour) {
  Image image;
  image.height = height;
  image.width = width;
  image.channels = static_cast<std::int64_t>(colour.size());
  for (std::int64_t p = 0; p < height * width; ++p)
    image.pixels.insert(image.pixels.end(), colour.begin(), colour.end());
  return encode_png(image);
}

const std::string bad_png = "\x89PNG\r\n\x1a\nand then nothing of use";

// What is logged while it lives.
class Log {
 public:
  Log() { set_log_file(folder_.path() / "log"); }
  ~Log() { set_log_file({}); }
  std::string text() const { return folder_.read("log"); }

 private:
  TempFolder folder_;
};

// ---------------------------------------------------------------------------------------------- data sets in
// memory

TEST(MemoryDataset, GivesImagesLabelsAndNames) {
  const DatasetPtr data =
      make_memory_dataset(bytes({1, 2, 3, 4, 5, 6}, {3, 1, 1, 2}), at::tensor({1, 0, 1}, at::kLong),
                          {"cat", "dog"}, {"a", "b", "c"});
  EXPECT_EQ(data->size(), 3);
  EXPECT_EQ(data->num_classes(), 2);
  EXPECT_EQ(data->shape(), (ImageShape{1, 1, 2}));
  EXPECT_THAT(values(data->images(at::tensor({2, 0, 2}, at::kLong))), ElementsAre(5, 6, 1, 2, 5, 6));
  EXPECT_THAT(values(data->labels()), ElementsAre(1, 0, 1));
  EXPECT_EQ(data->name(1), "b");
  EXPECT_EQ(data->images(natural_order(0)).size(0), 0);
}

TEST(MemoryDataset, NumbersSamplesWithoutNames) {
  const DatasetPtr data =
      make_memory_dataset(bytes({1, 2}, {2, 1, 1, 1}), at::tensor({0, 0}, at::kLong), {"cat"});
  EXPECT_EQ(data->name(1), "#1");
}

TEST(MemoryDataset, RefusesWhatDoesNotFitTogether) {
  const at::Tensor images = bytes({1, 2}, {2, 1, 1, 1});
  const at::Tensor labels = at::tensor({0, 1}, at::kLong);
  const std::vector<std::string> classes = {"cat", "dog"};
  const auto refused = [&](const std::string& text, const at::Tensor& i, const at::Tensor& l,
                           const std::vector<std::string>& c, const std::vector<std::string>& n = {}) {
    expect_error(ErrorKind::data, HasSubstr(text), [&] { make_memory_dataset(i, l, c, n); });
  };
  refused("2 images, but 3 labels", images, at::tensor({0, 1, 1}, at::kLong), classes);
  refused("2 images, but 1 names", images, labels, classes, {"a"});
  refused("label 1 of sample 1, but there are 1 classes", images, labels, {"cat"});
  refused("label -1", images, at::tensor({0, -1}, at::kLong), classes);
  refused("no classes", images, labels, {});
  refused("uint8", images.to(at::kFloat), labels, classes);
  refused("uint8", images[0], labels, classes);
  refused("channels", bytes({1, 2, 3, 4}, {2, 2, 1, 1}), labels, classes);
  refused("int64", images, labels.to(at::kInt), classes);
}

TEST(MemoryDataset, RefusesIndicesOutside) {
  const DatasetPtr data =
      make_memory_dataset(bytes({1, 2}, {2, 1, 1, 1}), at::tensor({0, 0}, at::kLong), {"cat"});
  for (const std::int64_t index : {-1, 2}) {
    expect_error(ErrorKind::internal, HasSubstr(std::to_string(index)),
                 [&] { data->images(at::tensor({index})); });
  }
  expect_error(ErrorKind::internal, HasSubstr("int64"), [&] { data->images(at::tensor({0}, at::kInt)); });
}

// ----------------------------------------------------------------------------------------------------------
// fitting

TEST(Fit, ResizesAsComputedByHand) {
  EXPECT_THAT(values(fit_images(bytes({10, 20, 30, 41}, {1, 1, 2, 2}), {1, 1, 1}, "resize")),
              ElementsAre(25));
  EXPECT_THAT(values(fit_images(bytes({0, 100}, {1, 1, 1, 2}), {1, 1, 4}, "resize")),
              ElementsAre(0, 25, 75, 100));
}

// Bilinear with antialiasing: a triangle as wide as the scale, over pixel centres, weights normalised.
std::vector<double> weights(std::int64_t in, std::int64_t out, std::int64_t at) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double reach = std::max(1.0, scale);
  const double centre = (static_cast<double>(at) + 0.5) * scale;
  std::vector<double> result;
  double sum = 0;
  for (std::int64_t i = 0; i < in; ++i) {
    result.push_back(std::max(0.0, 1 - std::abs(static_cast<double>(i) + 0.5 - centre) / reach));
    sum += result.back();
  }
  for (double& weight : result) weight /= sum;
  return result;
}

TEST(Fit, ResizesAsANaiveReference) {
  for (const auto& [h, w, height, width] :
       std::vector<std::array<std::int64_t, 4>>{{9, 5, 4, 3}, {3, 4, 8, 8}, {7, 13, 7, 6}, {2, 30, 5, 2}}) {
    const at::Tensor images = random_bytes({2, 3, h, w}, 7);
    const at::Tensor resized = fit_images(images, {3, height, width}, "resize");
    const auto in = images.accessor<std::uint8_t, 4>();
    const auto out = resized.accessor<std::uint8_t, 4>();
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        const auto wy = weights(h, height, y), wx = weights(w, width, x);
        double expected = 0;
        for (std::int64_t i = 0; i < h; ++i) {
          for (std::int64_t j = 0; j < w; ++j) {
            expected += wy[static_cast<std::size_t>(i)] * wx[static_cast<std::size_t>(j)] * in[1][2][i][j];
          }
        }
        EXPECT_NEAR(out[1][2][y][x], expected, 0.501) << y << "," << x;
      }
    }
  }
}

TEST(Fit, DoesNotDependOnTheOrderInMemory) {
  const at::Tensor planes = random_bytes({2, 3, 11, 9}, 3);
  const at::Tensor pixels = planes.permute({0, 2, 3, 1}).contiguous().permute({0, 3, 1, 2});
  for (const char* const fit : {"resize", "pad", "crop"}) {
    EXPECT_TRUE(fit_images(planes, {3, 6, 5}, fit).equal(fit_images(pixels, {3, 6, 5}, fit))) << fit;
  }
}

TEST(Fit, PadsSmallImagesInTheMiddleAndScalesLargeOnesDown) {
  EXPECT_THAT(values(fit_images(bytes({9}, {1, 1, 1, 1}), {1, 3, 3}, "pad")),
              ElementsAre(0, 0, 0, 0, 9, 0, 0, 0, 0));
  const at::Tensor wide = at::full({1, 1, 4, 8}, 100, at::kByte);
  EXPECT_THAT(values(fit_images(wide, {1, 4, 4}, "pad")),
              ElementsAre(0, 0, 0, 0, 100, 100, 100, 100, 100, 100, 100, 100, 0, 0, 0, 0));
}

TEST(Fit, CropsTheMiddle) {
  const at::Tensor wide = bytes({1, 2, 3, 4, 5, 6, 7, 8}, {1, 1, 2, 4});
  EXPECT_THAT(values(fit_images(wide, {1, 2, 2}, "crop")), ElementsAre(2, 3, 6, 7));
  EXPECT_THAT(values(fit_images(wide, {1, 1, 1}, "crop")), ElementsAre(4));  // 4.5 is rounded to even
}

TEST(Fit, NeedsLittleMemoryForVeryLongImages) {
  const at::Tensor line = at::full({1, 1, 1, 2'000'000}, 50, at::kByte);
  for (const std::string& fit : fit_names()) {
    const at::Tensor fitted = fit_images(line, {1, 32, 32}, fit);
    EXPECT_THAT(fitted.sizes(), ElementsAre(1, 1, 32, 32));
    EXPECT_EQ(fitted.max().item<int>(), 50);
  }
}

Image plane(std::int64_t height, std::int64_t width, std::uint8_t value) {
  return {height, width, 1, std::vector<std::uint8_t>(static_cast<std::size_t>(height * width), value)};
}

at::Tensor fit_planes(const JpegPlanes& jpeg, const ImageShape& shape, const std::string& fit) {
  at::Tensor out = at::empty({1, 3, shape.height, shape.width}, at::kByte);
  Fitter(shape, fit)(jpeg, out);
  return out;
}

// Y = 124, Cb = 86, Cr = 182: 124 + 1.402 * 54 = 199.7, 124 + 0.344 * 42 - 0.714 * 54 = 99.9, 124 - 1.772 *
// 42 = 49.6. What lies beyond the image, here in the luma's last row and column, is not shown.
TEST(Fit, MakesAJpegsPlanesOneImage) {
  JpegPlanes jpeg{9, 11, 2, 2, {plane(10, 12, 124), plane(5, 6, 86), plane(5, 6, 182)}};
  std::vector<std::uint8_t>& luma = jpeg.planes[0].pixels;
  std::fill(luma.end() - 12, luma.end(), 0);
  for (std::size_t i = 11; i < luma.size(); i += 12) luma[i] = 0;
  const at::Tensor resized = fit_planes(jpeg, {3, 6, 5}, "resize");
  EXPECT_THAT(resized.sizes(), ElementsAre(1, 3, 6, 5));
  for (const auto& [channel, value] : {std::pair{0, 200}, {1, 100}, {2, 50}}) {
    EXPECT_TRUE(resized.select(1, channel).eq(value).all().item<bool>());
  }
  const at::Tensor padded = fit_planes(jpeg, {3, 6, 4}, "pad");  // 3 x 4 in the middle of 6 x 4
  EXPECT_THAT(values(padded.select(1, 0)), ElementsAre(0, 0, 0, 0, 200, 200, 200, 200, 200, 200, 200, 200,
                                                       200, 200, 200, 200, 0, 0, 0, 0, 0, 0, 0, 0));
}

TEST(Fit, WhatIsKeptOfOneSizeServesNoOther) {
  const auto slope = [](std::int64_t height, std::int64_t width) {
    Image image = plane(height, width, 0);
    for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i);
    return image;
  };
  const JpegPlanes tall{12, 8, 2, 2, {slope(12, 8), slope(6, 4), slope(6, 4)}};
  const JpegPlanes wide{8, 12, 2, 2, {slope(8, 12), slope(4, 6), slope(4, 6)}};
  const JpegPlanes full{8, 12, 1, 1, {slope(8, 12), slope(8, 12), slope(8, 12)}};
  for (const std::string& fit : fit_names()) {
    const ImageShape shape{3, 5, 6};
    Fitter fitter(shape, fit);
    for (const JpegPlanes& jpeg : {tall, wide, wide, full, tall}) {
      at::Tensor out = at::empty({1, 3, 5, 6}, at::kByte);
      fitter(jpeg, out);
      EXPECT_TRUE(out.equal(fit_planes(jpeg, shape, fit))) << fit;
    }
  }
}

TEST(Fit, ColoursOutsideTheRangeAreClamped) {
  const JpegPlanes jpeg{2, 2, 1, 1, {plane(2, 2, 250), plane(2, 2, 128), plane(2, 2, 255)}};
  // 250 + 1.402 * 127 = 428, 250 - 0.714 * 127 = 159.3
  EXPECT_THAT(values(fit_planes(jpeg, {3, 1, 1}, "resize")), ElementsAre(255, 159, 250));
  const JpegPlanes dark{2, 2, 1, 1, {plane(2, 2, 5), plane(2, 2, 0), plane(2, 2, 128)}};
  // 5 + 0.344 * 128 = 49.0, 5 - 1.772 * 128 = -221.8
  EXPECT_THAT(values(fit_planes(dark, {3, 1, 1}, "resize")), ElementsAre(5, 49, 0));
}

// Slopes of several levels a pixel, steep in the differences of colour, show a plane that lies half a pixel
// off.
TEST(Fit, PlanesLieWhereTheImageDoes) {
  const std::int64_t h = 37, w = 45;
  const at::Tensor x = at::arange(w, at::kFloat).view({1, w}).expand({h, w});
  const at::Tensor y = at::arange(h, at::kFloat).view({h, 1}).expand({h, w});
  const at::Tensor r = 20 + 5 * x, g = 240 - 3 * y - 2 * x, b = 30 + 5 * y;
  const at::Tensor rgb = at::stack({r, g, b}).unsqueeze(0).clamp(0, 255).to(at::kByte);
  const at::Tensor luma = 0.299 * r + 0.587 * g + 0.114 * b;
  for (const auto& [rows, columns] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {1, 2}, {2, 1}, {2, 2}, {1, 4}}) {
    JpegPlanes jpeg{h, w, rows, columns, {}};
    const auto stored = [&, rows = rows, columns = columns](const at::Tensor& values, bool whole) {
      const std::int64_t dy = whole ? 1 : rows, dx = whole ? 1 : columns;
      const std::int64_t below = (dy - h % dy) % dy, right = (dx - w % dx) % dx;
      const at::Tensor padded = at::replication_pad2d(values.unsqueeze(0), {0, right, 0, below});
      const at::Tensor bytes =
          at::avg_pool2d(padded, {dy, dx}).squeeze(0).round().clamp(0, 255).to(at::kByte).contiguous();
      const auto* const first = bytes.data_ptr<std::uint8_t>();
      return Image{bytes.size(0), bytes.size(1), 1, {first, first + bytes.numel()}};
    };
    jpeg.planes = {stored(luma, true), stored(128 + (b - luma) / 1.772, false),
                   stored(128 + (r - luma) / 1.402, false)};
    for (const std::string& fit : fit_names()) {
      const at::Tensor difference = fit_planes(jpeg, {3, 23, 20}, fit).to(at::kFloat) -
                                    fit_images(rgb, {3, 23, 20}, fit).to(at::kFloat);
      EXPECT_LE(difference.abs().max().item<float>(), 8) << fit << rows << columns;
      EXPECT_LE(difference.mean({0, 2, 3}).abs().max().item<float>(), 0.4) << fit << rows << columns;
    }
  }
}

TEST(Fit, ConvertsChannels) {
  const at::Tensor rgb = bytes({255, 0, 0, 10, 0, 255, 0, 20, 0, 0, 255, 30}, {1, 3, 2, 2});
  EXPECT_THAT(values(fit_images(rgb, {1, 2, 2}, "resize")), ElementsAre(76, 150, 29, 18));
  EXPECT_THAT(values(fit_images(bytes({7, 8}, {1, 1, 1, 2}), {3, 1, 2}, "resize")),
              ElementsAre(7, 8, 7, 8, 7, 8));
}

TEST(DatasetOptions, AreCheckedWhenDeclaredAndWhenUsed) {
  DatasetOptions options;
  OptionSet set;
  options.declare(set);
  set.assign_text("data-format", "idx", Origin::command_line, "flags");
  set.assign_text("image-size", "28", Origin::command_line, "flags");
  EXPECT_EQ(options.format, "idx");
  EXPECT_EQ(options.image_size, 28);
  expect_error(ErrorKind::usage, HasSubstr("folder"),
               [&] { set.assign_text("data-format", "foldr", Origin::command_line, "flags"); });
  expect_error(ErrorKind::usage, HasSubstr("fit"),
               [&] { set.assign_text("fit", "stretch", Origin::command_line, "flags"); });
  expect_error(ErrorKind::usage, HasSubstr("image-size"),
               [&] { set.assign_text("image-size", "-1", Origin::command_line, "flags"); });

  const TempFolder folder;
  const auto refused = [&](const std::string& text, const std::function<void(DatasetOptions&)>& change) {
    DatasetOptions changed;
    change(changed);
    expect_error(ErrorKind::usage, HasSubstr(text),
                 [&] { open_dataset(folder.text(), Split::train, changed); });
  };
  refused("resize", [](DatasetOptions& o) { o.fit = "resiz"; });
  refused("2 channels", [](DatasetOptions& o) { o.channels = 2; });
  refused("image-size", [](DatasetOptions& o) { o.image_size = max_side + 1; });
  refused("memory-limit-gib", [](DatasetOptions& o) { o.memory_limit_gib = -1; });
}

// --------------------------------------------------------------------------------------------------------------
// IDX

std::string be32(std::uint32_t number) {
  std::string text;
  for (const int shift : {24, 16, 8, 0}) text += static_cast<char>((number >> shift) & 255);
  return text;
}

std::string idx(const std::vector<std::uint32_t>& sizes, const std::string& content, char type = 8) {
  std::string text = {0, 0, type, static_cast<char>(sizes.size())};
  for (const std::uint32_t size : sizes) text += be32(size);
  return text + content;
}

std::string gz(const std::string& content) {
  const TempFolder folder;
  const std::string path = (folder.path() / "a.gz").string();
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  return folder.read("a.gz");
}

const std::string twelve = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
const std::string two_images = idx({2, 2, 3}, twelve);
const std::string two_labels = idx({2}, {9, 0});

class Idx : public testing::Test {
 protected:
  void SetUp() override {
    images(two_images);
    labels(two_labels);
  }
  void images(const std::string& content) const { folder.write("train-images-idx3-ubyte", content); }
  void labels(const std::string& content) const { folder.write("train-labels-idx1-ubyte", content); }
  void images_gz(const std::string& content) const {
    fs::remove(folder.path() / "train-images-idx3-ubyte");
    folder.write("train-images-idx3-ubyte.gz", content);
  }
  DatasetPtr open(const DatasetOptions& options = {}, Split split = Split::train) const {
    return open_dataset(folder.text(), split, options);
  }
  void refused(const std::string& text, ErrorKind kind = ErrorKind::data,
               const DatasetOptions& options = {}) const {
    expect_error(kind, AllOf(HasSubstr(text), HasSubstr("idx")), [&] { open(options); });
  }

  TempFolder folder;
};

TEST_F(Idx, IsReadPlain) {
  const DatasetPtr data = open();
  EXPECT_EQ(data->shape(), (ImageShape{1, 2, 3}));
  EXPECT_THAT(values(all_images(data)), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  EXPECT_THAT(values(data->labels()), ElementsAre(9, 0));
  EXPECT_THAT(data->classes(), ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"));
  EXPECT_THAT(names(data), ElementsAre("train-images-idx3-ubyte#0", "train-images-idx3-ubyte#1"));
}

TEST_F(Idx, IsReadCompressedAndWithDots) {
  images_gz(gz(two_images));
  fs::rename(folder.path() / "train-labels-idx1-ubyte", folder.path() / "train-labels.idx1-ubyte");
  const DatasetPtr data = open();
  EXPECT_THAT(values(all_images(data)), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  EXPECT_EQ(data->name(1), "train-images-idx3-ubyte.gz#1");
}

TEST_F(Idx, KeepsTheTestSplitApart) {
  folder.write("t10k-images-idx3-ubyte", idx({1, 1, 1}, {42}));
  folder.write("t10k-labels-idx1-ubyte", idx({1}, {3}));
  const DatasetPtr data = open({}, Split::test);
  EXPECT_THAT(values(all_images(data)), ElementsAre(42));
  EXPECT_THAT(values(data->labels()), ElementsAre(3));
}

TEST_F(Idx, TakesClassNamesFromAFile) {
  labels(idx({2}, {1, 0}));
  folder.write("classes.txt", "cat\r\nbig dog \n\n");
  EXPECT_THAT(open()->classes(), ElementsAre("cat", "big dog"));
  folder.write("classes.txt", "cat\ncat\n");
  expect_error(ErrorKind::data, AllOf(HasSubstr("classes.txt:2"), HasSubstr("twice")), [&] { open(); });
  folder.write("classes.txt", "cat\n\ndog\n");
  expect_error(ErrorKind::data, HasSubstr("empty"), [&] { open(); });
  folder.write("classes.txt", "\n");
  expect_error(ErrorKind::data, HasSubstr("0 class names"), [&] { open(); });
}

TEST_F(Idx, IsFitted) {
  DatasetOptions options;
  options.image_size = 4;
  options.fit = "pad";
  options.channels = 3;
  const DatasetPtr data = open(options);
  EXPECT_EQ(data->shape(), (ImageShape{3, 4, 4}));
  EXPECT_THAT(values(all_images(data)[1][2]), ElementsAre(0, 0, 0, 0, 7, 8, 9, 0, 10, 11, 12, 0, 0, 0, 0, 0));
}

TEST_F(Idx, IsFittedOnDemandIfItWouldTakeTooMuchMemory) {
  DatasetOptions options;
  options.image_size = 5;
  const at::Tensor at_once = all_images(open(options));
  options.memory_limit_gib = 49.0 / (1 << 30);  // 2 x 5 x 5 = 50 bytes
  const Log log;
  const DatasetPtr data = open(options);
  EXPECT_THAT(log.text(), HasSubstr("memory-limit-gib"));
  EXPECT_EQ(data->shape(), (ImageShape{1, 5, 5}));
  EXPECT_TRUE(all_images(data).equal(at_once));
  EXPECT_EQ(data->name(0), "train-images-idx3-ubyte#0");
}

TEST_F(Idx, IsRefusedBeyondTheMemoryLimit) {
  DatasetOptions options;
  options.memory_limit_gib = 27.0 / (1 << 30);  // the file has 28 bytes
  refused("raise memory-limit-gib", ErrorKind::usage, options);
  images_gz(gz(idx({1000, 10, 10}, std::string(100'000, 'x'))));
  options.memory_limit_gib = 99'999.0 / (1 << 30);
  refused("raise memory-limit-gib", ErrorKind::usage, options);
}

TEST_F(Idx, RefusesAWrongHeader) {
  images("\x01" + two_images.substr(1));
  refused("no IDX file");
  images(idx({2, 2, 3}, twelve, 0x0D));
  refused("type 13");
  images(idx({2, 6}, twelve));
  refused("2 dimensions");
  images(idx({0, 2, 3}, ""));
  refused("0 images");
  images(idx({1, 70'000, 1}, std::string(70'000, 'x')));
  refused("70000x1");
  images(two_images.substr(0, 9));
  refused("too early");
  images("");
  refused("too early");
}

TEST_F(Idx, RefusesFalseSizes) {
  images(two_images.substr(0, two_images.size() - 1));
  refused("declares 12 bytes, more than the file holds");
  images(idx({0xFFFFFFFF, 4096, 4096}, twelve));
  refused("more than the file holds");
  images(two_images + "x");
  refused("data follow");
  images_gz(gz(idx({0xFFFFFFFF, 4096, 4096}, twelve)));
  refused("more than the file holds");
}

TEST_F(Idx, RefusesBrokenCompression) {
  const std::string whole = gz(two_images);
  images_gz(whole.substr(0, whole.size() - 12));
  refused("truncated");
  images_gz(whole.substr(0, whole.size() - 3));  // all pixels are there, the check sum is not
  refused("truncated");
  std::string changed = whole;
  changed[changed.size() - 6] = static_cast<char>(changed[changed.size() - 6] ^ 1);  // in the CRC
  images_gz(changed);
  refused("corrupt");
  images_gz(whole + "garbage");
  refused("data follow");
  images_gz(gz(idx({20, 2, 3}, twelve)));
  refused("too early");
}

TEST_F(Idx, StopsUnpackingABomb) {
  images_gz(gz(idx({2, 2, 3}, std::string(64 << 20, '\0'))));
  refused("data follow");
}

TEST_F(Idx, RefusesWrongLabels) {
  labels(idx({2}, {10, 0}));
  refused("label 10 of sample 0, but there are 10 classes");
  labels(idx({3}, {1, 0, 0}));
  refused("2 images, but train-labels-idx1-ubyte holds 3 labels");
  fs::remove(folder.path() / "train-labels-idx1-ubyte");
  expect_error(ErrorKind::io, HasSubstr("train-labels-idx1-ubyte"), [&] { open(); });
  expect_error(ErrorKind::io, HasSubstr("t10k-images-idx3-ubyte"), [&] { open({}, Split::test); });
}

// ------------------------------------------------------------------------------------------------------------
// CIFAR

std::string cifar_record(const std::string& labels, char red, char green, char blue) {
  return labels + std::string(1024, red) + std::string(1024, green) + std::string(1024, blue);
}

class Cifar10 : public testing::Test {
 protected:
  void SetUp() override {
    for (char b = 1; b <= 5; ++b) {
      folder.write("data_batch_" + std::to_string(b) + ".bin",
                   cifar_record({b}, b, 100, 101) + cifar_record({0}, static_cast<char>(b + 10), 102, 103));
    }
    folder.write("test_batch.bin", cifar_record({9}, 1, 2, 3));
    folder.write("batches.meta.txt",
                 "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
  }
  void refused(const std::string& text, ErrorKind kind = ErrorKind::data) const {
    expect_error(kind, HasSubstr(text), [&] { open_dataset(folder.text(), Split::train); });
  }
  TempFolder folder;
};

TEST_F(Cifar10, IsRead) {
  const DatasetPtr data = open_dataset(folder.text(), Split::train);
  EXPECT_EQ(data->shape(), (ImageShape{3, 32, 32}));
  EXPECT_THAT(values(data->labels()), ElementsAre(1, 0, 2, 0, 3, 0, 4, 0, 5, 0));
  EXPECT_EQ(data->classes()[9], "truck");
  EXPECT_EQ(data->name(3), "data_batch_2.bin#1");
  const at::Tensor fourth = data->images(at::tensor({3}, at::kLong))[0];
  EXPECT_THAT(values(fourth.slice(1, 0, 1).slice(2, 31, 32)), ElementsAre(12, 102, 103));
  EXPECT_TRUE(fourth[0].eq(12).all().item<bool>());
  EXPECT_TRUE(fourth[2].eq(103).all().item<bool>());

  const DatasetPtr test = open_dataset(folder.text(), Split::test);
  EXPECT_EQ(test->size(), 1);
  EXPECT_THAT(values(test->labels()), ElementsAre(9));
}

TEST_F(Cifar10, HasNumbersForNamesWithoutTheirFile) {
  fs::remove(folder.path() / "batches.meta.txt");
  EXPECT_EQ(open_dataset(folder.text(), Split::train)->classes()[9], "9");
}

TEST_F(Cifar10, RefusesWhatIsNotTheFormat) {
  folder.write("batches.meta.txt", "airplane\n");
  refused("1 class names, where 10 are expected");
  folder.write("data_batch_4.bin", cifar_record({10}, 1, 2, 3));
  refused("label 10 of record 0");
  folder.write("data_batch_3.bin", cifar_record({1}, 1, 2, 3) + "x");
  refused("3074 bytes are no whole number of records of 3073");
  folder.write("data_batch_3.bin", "");
  refused("0 bytes");
  fs::remove(folder.path() / "data_batch_2.bin");
  refused("data_batch_2.bin", ErrorKind::io);
}

TEST(Cifar100, TakesTheFineLabel) {
  const TempFolder folder;
  std::string class_names;
  for (int i = 0; i < 100; ++i) class_names += "class " + std::to_string(i) + "\n";
  folder.write("fine_label_names.txt", class_names);
  folder.write("train.bin", cifar_record({19, 99}, 1, 2, 3) + cifar_record({0, 50}, 1, 2, 3));
  const DatasetPtr data = open_dataset(folder.text(), Split::train);
  EXPECT_THAT(values(data->labels()), ElementsAre(99, 50));
  EXPECT_EQ(data->classes()[50], "class 50");
  EXPECT_THAT(values(data->images(at::tensor({1}, at::kLong))[0].slice(1, 0, 1).slice(2, 0, 1)),
              ElementsAre(1, 2, 3));
  folder.write("train.bin", cifar_record({19, 100}, 1, 2, 3));
  expect_error(ErrorKind::data, HasSubstr("label 100"), [&] { open_dataset(folder.text(), Split::train); });
  expect_error(ErrorKind::io, HasSubstr("test.bin"), [&] { open_dataset(folder.text(), Split::test); });
}

// ---------------------------------------------------------------------------------------------------- class
// folders

class ClassFolders : public testing::Test {
 protected:
  // Red, green and blue images.
  void SetUp() override {
    folder.write("dog/b.png", png(2, 2, {0, 0, 200}));
    folder.write("cat/deep/er/2.PNG", png(2, 2, {0, 150, 0}));
    folder.write("cat/1.png", png(2, 2, {100, 0, 0}));
    folder.write("cat/notes.txt", "no image");
    folder.write("cat/.hidden.png", bad_png);
    folder.write(".cache/x.png", bad_png);
  }
  DatasetPtr open(const DatasetOptions& options = {}, Split split = Split::train) const {
    return open_dataset(folder.text(), split, options);
  }
  static DatasetOptions on_demand() {
    DatasetOptions options;
    options.memory_limit_gib = 0;
    return options;
  }
  TempFolder folder;
};

TEST_F(ClassFolders, AreReadInAReproducibleOrder) {
  const DatasetPtr data = open();
  EXPECT_THAT(data->classes(), ElementsAre("cat", "dog"));
  EXPECT_THAT(names(data), ElementsAre("cat/1.png", "cat/deep/er/2.PNG", "dog/b.png"));
  EXPECT_THAT(values(data->labels()), ElementsAre(0, 0, 1));
  EXPECT_EQ(data->shape(), (ImageShape{3, 2, 2}));
  EXPECT_THAT(values(all_images(data).slice(2, 0, 1).slice(3, 1, 2)),
              ElementsAre(100, 0, 0, 0, 150, 0, 0, 0, 200));
  EXPECT_TRUE(all_images(open({}, Split::test)).equal(all_images(data)));  // no splits: the same for both
}

TEST_F(ClassFolders, GiveTheSameOnDemand) {
  for (const std::int64_t size : {0, 3}) {
    DatasetOptions options;
    options.image_size = size;
    const DatasetPtr in_memory = open(options);
    options.memory_limit_gib = 0;
    const DatasetPtr data = open(options);
    EXPECT_TRUE(all_images(data).equal(all_images(in_memory)));
    EXPECT_TRUE(data->labels().equal(in_memory->labels()));
    EXPECT_EQ(names(data), names(in_memory));
    EXPECT_EQ(data->shape(), in_memory->shape());
    expect_error(ErrorKind::internal, HasSubstr("no sample 3"),
                 [&] { data->images(at::tensor({3}, at::kLong)); });
  }
}

TEST_F(ClassFolders, NameTheFileThatFailsOnDemand) {
  const DatasetPtr data = open(on_demand());
  folder.write("dog/b.png", bad_png);
  expect_error(ErrorKind::data, HasSubstr("b.png"), [&] { all_images(data); });
}

TEST_F(ClassFolders, MayLieBelowSplits) {
  const TempFolder splits;
  splits.write("train/cat/1.png", png(2, 2, {1, 1, 1}));
  splits.write("train/dog/1.png", png(2, 2, {2, 2, 2}));
  splits.write("val/dog/2.png", png(2, 2, {3, 3, 3}));
  splits.write("extra/readme.txt", "");
  EXPECT_THAT(names(open_dataset(splits.text(), Split::train)),
              ElementsAre("train/cat/1.png", "train/dog/1.png"));
  const DatasetPtr val = open_dataset(splits.text(), Split::test);
  EXPECT_THAT(names(val), ElementsAre("val/dog/2.png"));
  EXPECT_THAT(val->classes(), ElementsAre("cat", "dog"));  // those of train
  EXPECT_THAT(values(val->labels()), ElementsAre(1));

  splits.write("test/cat/3.png", png(2, 2, {4, 4, 4}));
  EXPECT_THAT(names(open_dataset(splits.text(), Split::test)), ElementsAre("test/cat/3.png"));

  splits.write("test/bird/3.png", png(2, 2, {4, 4, 4}));
  expect_error(ErrorKind::data, HasSubstr("'bird' is not among those of"),
               [&] { open_dataset(splits.text(), Split::test); });
  fs::remove_all(splits.path() / "train");
  expect_error(ErrorKind::usage, HasSubstr("no training split"),
               [&] { open_dataset(splits.text(), Split::train); });
}

TEST_F(ClassFolders, MissATestSplit) {
  const TempFolder splits;
  splits.write("train/cat/1.png", png(2, 2, {1, 1, 1}));
  expect_error(ErrorKind::usage, HasSubstr("no test split"),
               [&] { open_dataset(splits.text(), Split::test); });
}

TEST_F(ClassFolders, MayBeCalledTrain) {
  folder.write("train/locomotive.png", png(2, 2, {9, 9, 9}));
  EXPECT_THAT(open()->classes(), ElementsAre("cat", "dog", "train"));
}

TEST_F(ClassFolders, AreGreyIfAllImagesAre) {
  const TempFolder grey;
  grey.write("a/1.png", png(2, 2, {7}));
  EXPECT_EQ(open_dataset(grey.text(), Split::train)->shape(), (ImageShape{1, 2, 2}));
  grey.write("a/2.png", png(2, 2, {1, 2, 3}));
  const DatasetPtr mixed = open_dataset(grey.text(), Split::train);
  EXPECT_EQ(mixed->shape(), (ImageShape{3, 2, 2}));
  EXPECT_TRUE(all_images(mixed)[0].eq(7).all().item<bool>());
  DatasetOptions options;
  options.channels = 1;
  EXPECT_EQ(open_dataset(grey.text(), Split::train, options)->shape(), (ImageShape{1, 2, 2}));
}

TEST_F(ClassFolders, OfMixedSizesAreFittedTo32) {
  folder.write("dog/wide.png", png(2, 3, {0, 0, 200}));
  const Log log;
  EXPECT_EQ(open()->shape(), (ImageShape{3, 32, 32}));
  EXPECT_THAT(log.text(), HasSubstr("fitted to 32x32"));
  DatasetOptions options;
  options.image_size = 8;
  EXPECT_EQ(open(options)->shape(), (ImageShape{3, 8, 8}));
  options.channels = 1;
  EXPECT_EQ(open(options)->shape(), (ImageShape{1, 8, 8}));
}

TEST_F(ClassFolders, LeaveBadImagesOutAndCountThem) {
  for (int i = 0; i < 12; ++i) folder.write("dog/a" + std::to_string(i) + ".png", bad_png);
  DatasetOptions sized;
  sized.image_size = 2;
  sized.channels = 3;
  DatasetOptions sized_on_demand = sized;
  sized_on_demand.memory_limit_gib = 0;
  for (const DatasetOptions& options : {DatasetOptions(), on_demand(), sized, sized_on_demand}) {
    const Log log;
    const DatasetPtr data = open(options);
    EXPECT_THAT(names(data), ElementsAre("cat/1.png", "cat/deep/er/2.PNG", "dog/b.png"));
    EXPECT_THAT(values(data->labels()), ElementsAre(0, 0, 1));
    EXPECT_THAT(values(all_images(data).slice(2, 0, 1).slice(3, 1, 2)),
                ElementsAre(100, 0, 0, 0, 150, 0, 0, 0, 200));
    // a0, a1, a10, a11, a2 ... a7 are named, a8 and a9 only counted.
    EXPECT_THAT(log.text(),
                AllOf(HasSubstr("dog/a0.png"), HasSubstr("dog/a7.png"), Not(HasSubstr("dog/a8.png")),
                      HasSubstr("12 of 15 images are bad and left out")));
  }
}

TEST_F(ClassFolders, StopAtTheFirstBadImageIfStrict) {
  for (const char* name : {"cat/0.png", "dog/a.png", "dog/c.png"}) folder.write(name, bad_png);
  DatasetOptions options;
  options.strict = true;
  expect_error(ErrorKind::data, HasSubstr("cat/0.png"), [&] { open(options); });
}

TEST_F(ClassFolders, MustHoldReadableImages) {
  folder.write("dog/b.png", bad_png);
  expect_error(ErrorKind::data, AllOf(HasSubstr("dog"), HasSubstr("not one image of the class")),
               [&] { open(); });
  fs::remove_all(folder.path() / "cat");
  expect_error(ErrorKind::data, AllOf(HasSubstr("not one of 1 images can be read"), HasSubstr("dog/b.png")),
               [&] { open(); });
  fs::create_directory(folder.path() / "ant");
  expect_error(ErrorKind::data, AllOf(HasSubstr("ant"), HasSubstr("holds no images")), [&] { open(); });
}

TEST_F(ClassFolders, CanBeInterrupted) {
  set_interrupt_requested(true);
  expect_error(ErrorKind::interrupted, HasSubstr("images"), [&] { open(); });
  set_interrupt_requested(false);
  EXPECT_EQ(open()->size(), 3);
}

// Gives up root's right to read everything while it lives.
class AsNobody {
 public:
  AsNobody() : user_(geteuid()) {
    if (user_ == 0 && seteuid(65534) != 0) ADD_FAILURE() << "seteuid";
  }
  ~AsNobody() {
    if (user_ == 0 && seteuid(user_) != 0) ADD_FAILURE() << "seteuid";
  }

 private:
  uid_t user_;
};

TEST_F(ClassFolders, MustBeReadable) {
  fs::permissions(folder.path(), fs::perms::all);
  fs::permissions(folder.path() / "cat" / "deep", fs::perms::none);
  {
    const AsNobody nobody;
    expect_error(ErrorKind::io, HasSubstr("cat"), [&] { open(); });
  }
  fs::permissions(folder.path(), fs::perms::none);
  {
    const AsNobody nobody;
    expect_error(ErrorKind::io, HasSubstr("cannot be read"), [&] { open(); });
  }
  fs::permissions(folder.path(), fs::perms::owner_all);
  fs::permissions(folder.path() / "cat" / "deep", fs::perms::owner_all);
}

// ------------------------------------------------------------------------------------- the folder that mcci
// writes

class McciFolder : public testing::Test {
 protected:
  void SetUp() override {
    description(R"({"schema":"mcci.dataset/1","classes":["cat","dog"],"shape":[3,2,2],"count":2})");
    labels("path,label\nimages/0.png,1\nimages/1,5.png,0\n");
    folder.write("dataset/images/0.png", png(2, 2, {1, 2, 3}));
    folder.write("dataset/images/1,5.png", png(2, 2, {4, 5, 6}));
    folder.write("truth/manifest.json", "{}");
    folder.write("secret.png", png(2, 2, {7, 7, 7}));
  }
  void description(const std::string& text) const { folder.write("dataset/dataset.json", text); }
  void labels(const std::string& text) const { folder.write("dataset/labels.csv", text); }
  DatasetPtr open(const DatasetOptions& options = {}) const {
    return open_dataset(folder.text(), Split::train, options);
  }
  void refused(const std::string& text, ErrorKind kind = ErrorKind::data) const {
    expect_error(kind, HasSubstr(text), [&] { open(); });
  }
  TempFolder folder;
};

TEST_F(McciFolder, IsReadAndFoundBesideTheTruth) {
  for (const std::string& source : {folder.text(), folder.text() + "/dataset"}) {
    const DatasetPtr data = open_dataset(source, Split::train);
    EXPECT_THAT(names(data), ElementsAre("images/0.png", "images/1,5.png"));
    EXPECT_THAT(values(data->labels()), ElementsAre(1, 0));
    EXPECT_THAT(data->classes(), ElementsAre("cat", "dog"));
    EXPECT_EQ(data->shape(), (ImageShape{3, 2, 2}));
    EXPECT_THAT(values(all_images(data).slice(2, 0, 1).slice(3, 0, 1)), ElementsAre(1, 2, 3, 4, 5, 6));
  }
  DatasetOptions options;
  options.image_size = 4;
  options.channels = 1;
  EXPECT_EQ(open(options)->shape(), (ImageShape{1, 4, 4}));
}

TEST_F(McciFolder, HasNoTestSplit) {
  expect_error(ErrorKind::usage, HasSubstr("name a clean test set"),
               [&] { open_dataset(folder.text(), Split::test); });
}

TEST_F(McciFolder, MayNotLeadOutOfItself) {
  for (const std::string& path : {std::string("../secret.png"), std::string("images/../../secret.png"),
                                  (folder.path() / "secret.png").string(), std::string()}) {
    labels("path,label\nimages/0.png,1\n" + path + ",0\n");
    refused("leads out of the data set");
    refused("labels.csv:3");
  }
}

TEST_F(McciFolder, RefusesWrongLabels) {
  labels("file,label\n");
  refused("'path,label'");
  labels("path,label\nimages/0.png\n");
  refused("labels.csv:2");
  labels("path,label\nimages/0.png,one\n");
  refused("'one' is no number");
  labels("path,label\nimages/0.png,1x\n");
  refused("'1x' is no number");
  labels("path,label\nimages/0.png,2\n");
  refused("label 2, but there are 2 classes");
  labels("path,label\nimages/0.png,-1\n");
  refused("label -1");
  labels("path,label\nimages/0.png,1\nimages/0.png,0\n");
  refused("there twice");
  labels("path,label\r\nimages/0.png,1\r\n");
  refused("'count' is 2, but labels.csv lists 1");
  labels("path,label\nimages/0.png,1\nimages/none.png,0\n");
  refused("none.png", ErrorKind::io);
  fs::remove(folder.path() / "dataset/labels.csv");
  refused("labels.csv", ErrorKind::io);
}

TEST_F(McciFolder, RefusesAWrongDescription) {
  description("{");
  refused("dataset.json");
  description(R"({"classes":["cat","dog"],"shape":[3,2,2],"count":2})");
  refused("schema");
  description(R"({"schema":"mcci.dataset/2","classes":["cat","dog"],"shape":[3,2,2],"count":2})");
  refused("mcci.dataset/2");
  description(R"({"schema":"mcci.dataset/1","classes":[],"shape":[3,2,2],"count":2})");
  refused("'classes' is empty");
  description(R"({"schema":"mcci.dataset/1","classes":["cat","dog"],"shape":[2,2],"count":2})");
  refused("[channels, height, width]");
  description(R"({"schema":"mcci.dataset/1","classes":["cat","dog"],"shape":[2,2,2],"count":2})");
  refused("2x2x2");
  description(R"({"schema":"mcci.dataset/1","classes":["cat","dog"],"shape":[3,2,1000000000000],"count":2})");
  refused("3x2x1000000000000");
}

TEST_F(McciFolder, LeavesOutImagesOfAnotherShape) {
  folder.write("dataset/images/0.png", png(3, 2, {1, 2, 3}));
  const Log log;
  EXPECT_THAT(names(open()), ElementsAre("images/1,5.png"));
  EXPECT_THAT(log.text(), HasSubstr("3x2 pixels, not 2x2"));
}

// ----------------------------------------------------------------------------------------------- sources in
// general

TEST(OpenDataset, ListsCandidatesForUnknownNames) {
  expect_error(ErrorKind::usage, HasSubstr("fashion-mnist"),
               [] { open_dataset("fashion-mnits", Split::train); });
  const TempFolder folder;
  DatasetOptions options;
  options.format = "cifar";
  expect_error(ErrorKind::usage, AllOf(HasSubstr("'cifar'"), HasSubstr("cifar10"), HasSubstr("idx")),
               [&] { open_dataset(folder.text(), Split::train, options); });
}

TEST(OpenDataset, SaysWhatItLookedFor) {
  const TempFolder folder;
  folder.write("1.png", png(1, 1, {1}));
  expect_error(ErrorKind::usage,
               AllOf(HasSubstr("train-images-idx3-ubyte"), HasSubstr("one folder per class")),
               [&] { open_dataset(folder.text(), Split::train); });
  DatasetOptions options;
  options.format = "folder";
  expect_error(ErrorKind::data, HasSubstr("no class folders"),
               [&] { open_dataset(folder.text(), Split::train, options); });
}

TEST(OpenDataset, WantsAFolder) {
  const TempFolder folder;
  const fs::path file = folder.write("1.png", png(1, 1, {1}));
  expect_error(ErrorKind::usage, HasSubstr("this is a file"),
               [&] { open_dataset(file.string(), Split::train); });
  fs::create_symlink("loop", folder.path() / "loop");
  expect_error(ErrorKind::io, HasSubstr("loop"),
               [&] { open_dataset((folder.path() / "loop").string(), Split::train); });
}

TEST(DatasetAliases, BringTheirOptions) {
  DatasetOptions options = with_alias_options("fashion-mnist", {});
  EXPECT_EQ(options.image_size, 32);
  EXPECT_EQ(options.fit, "pad");
  options = DatasetOptions();
  options.fit = "crop";
  options.strict = true;
  options = with_alias_options("fashion-mnist", options);
  EXPECT_EQ(options.image_size, 32);
  EXPECT_EQ(options.fit, "crop");
  EXPECT_TRUE(options.strict);
  options = DatasetOptions();
  options.image_size = 28;
  options = with_alias_options("fashion-mnist", options);
  EXPECT_EQ(options.image_size, 28);
  EXPECT_EQ(options.fit, "resize");
  EXPECT_EQ(with_alias_options("elsewhere", {}).image_size, 0);
}

TEST(DatasetAliases, OpenOrNameTheirPackage) {
  for (const DatasetAlias& alias : dataset_aliases()) {
    if (!alias.path.empty() && !fs::exists(alias.path)) {
      expect_error(ErrorKind::io, HasSubstr(alias.package), [&] { open_dataset(alias.name, Split::test); });
      continue;
    }
    const DatasetPtr data = open_dataset(alias.name, Split::test);
    EXPECT_EQ(data->classes(), alias.classes);
    EXPECT_EQ(data->shape().height, alias.options.image_size);
    EXPECT_GT(data->size(), 9'000);
  }
}

// "VmRSS", "VmHWM": what is, and was at most, in memory, in MiB.
double resident(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(field + ":", 0) == 0) return std::stod(line.substr(field.size() + 1)) / 1024;
  }
  ADD_FAILURE() << "no " << field;
  return 0;
}

// A set of 192 MiB in memory. The peak is that of the whole process, so what streams comes first.
TEST(OpenDataset, ASetLargerThanTheLimitIsNeverInMemory) {
  const TempFolder folder;
  const std::string image = png(256, 256, {1, 2, 3});
  for (int i = 0; i < 1024; ++i)
    folder.write(std::to_string(i % 2) + "/" + std::to_string(i) + ".png", image);
  DatasetOptions options;
  options.image_size = 256;
  options.channels = 3;
  const auto growth = [&](double limit_gib) {
    std::ofstream("/proc/self/clear_refs") << "5";  // forgets the peak
    const double before = resident("VmRSS");
    options.memory_limit_gib = limit_gib;
    const DatasetPtr data = open_dataset(folder.text(), Split::train, options);
    LoaderOptions batches;
    batches.batch_size = 16;
    Loader loader(data, epoch_order(data->size(), 1, 0), batches, AugmentOptions(), 1, 0);
    std::int64_t seen = 0;
    while (const auto batch = loader.next()) seen += batch->images.size(0);
    EXPECT_EQ(seen, 1024);
    return resident("VmHWM") - before;
  };
  EXPECT_LT(growth(0.1), 96);
  EXPECT_GT(growth(1), 160) << "or the test sees nothing";
}

TEST(OpenImages, ReadsFilesAndFolders) {
  const TempFolder folder;
  folder.write("b/2.png", png(1, 1, {0, 0, 9}));
  folder.write("b/1.png", png(1, 1, {8}));
  const fs::path no_extension = folder.write("picture", png(1, 1, {7, 7, 7}));
  const DatasetPtr data = open_images({no_extension, folder.path() / "b"}, {3, 2, 3}, {"cat", "dog"});
  EXPECT_THAT(names(data),
              ElementsAre(no_extension.string(), folder.text() + "/b/1.png", folder.text() + "/b/2.png"));
  EXPECT_THAT(values(data->labels()), ElementsAre(0, 0, 0));
  EXPECT_THAT(data->classes(), ElementsAre("cat", "dog"));
  EXPECT_EQ(data->shape(), (ImageShape{3, 2, 3}));
  EXPECT_THAT(values(all_images(data).slice(2, 1, 2).slice(3, 2, 3)), ElementsAre(7, 7, 7, 8, 8, 8, 0, 0, 9));
  DatasetOptions options;
  options.memory_limit_gib = 0;
  EXPECT_TRUE(all_images(open_images({no_extension, folder.path() / "b"}, {3, 2, 3}, {"cat"}, options))
                  .equal(all_images(data)));
}

TEST(OpenImages, SaysWhatCannotBeRead) {
  const TempFolder folder;
  const fs::path good = folder.write("good.png", png(1, 1, {7}));
  const fs::path bad = folder.write("bad.png", bad_png);
  EXPECT_THAT(names(open_images({bad, good}, {3, 2, 2}, {"cat"})), ElementsAre(good.string()));
  DatasetOptions options;
  options.strict = true;
  expect_error(ErrorKind::data, HasSubstr("bad.png"), [&] {
    open_images({good, bad}, {3, 2, 2}, {"cat"}, options);
  });
  expect_error(ErrorKind::data, HasSubstr("bad.png"), [&] { open_images({bad}, {3, 2, 2}, {"cat"}); });
  expect_error(ErrorKind::io, HasSubstr("none.png"), [&] {
    open_images({folder.path() / "none.png"}, {3, 2, 2}, {"cat"});
  });
  fs::create_directory(folder.path() / "empty");
  expect_error(ErrorKind::data, HasSubstr("holds no images"), [&] {
    open_images({folder.path() / "empty"}, {3, 2, 2}, {"cat"});
  });
  options.fit = "stretch";
  expect_error(ErrorKind::usage, HasSubstr("stretch"), [&] {
    open_images({good}, {3, 2, 2}, {"cat"}, options);
  });
}

}  // namespace
}  // namespace mcci
