#include "mcci/imageio/image.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <optional>

#include <turbojpeg.h>
#include <zlib.h>

#include "mcci/core/random.hpp"
#include "tests/core/support.hpp"

namespace mcci {
namespace {

using test::expect_error;
using test::TemporaryFolder;
using testing::ElementsAre;
using Bytes = std::vector<std::uint8_t>;

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

std::string big_endian(std::uint32_t value) {
  return text_of({static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
                  static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)});
}

std::string little_endian(std::uint32_t value, int bytes = 4) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

Image decoded(const std::string& bytes, std::int64_t channels = 0) {
  return decode_image(bytes, "test image", channels);
}

void expect_refused(const std::string& bytes, const std::string& message, const DecodeLimits& limits = {}) {
  expect_error(ErrorKind::data, {"test image: ", message},
               [&] { decode_image(bytes, "test image", 0, limits); });
}

Image random_image(Rng& rng, std::int64_t height, std::int64_t width, std::int64_t channels) {
  Image image{height, width, channels, {}};
  for (std::int64_t i = 0; i < height * width * channels; ++i) {
    image.pixels.push_back(static_cast<std::uint8_t>(rng.below(256)));
  }
  return image;
}

// ---- PPM and PGM

TEST(PnmTest, HandWrittenFiles) {
  const Image colour = decoded("P6\n2 1\n255\n\x01\x02\x03\xfd\xfe\xff");
  EXPECT_EQ(colour.width, 2);
  EXPECT_EQ(colour.height, 1);
  EXPECT_EQ(colour.channels, 3);
  EXPECT_THAT(colour.pixels, ElementsAre(1, 2, 3, 253, 254, 255));

  const Image grey = decoded("P5 1 3 255 abc and what follows");
  EXPECT_EQ(grey.width, 1);
  EXPECT_EQ(grey.height, 3);
  EXPECT_EQ(grey.channels, 1);
  EXPECT_THAT(grey.pixels, ElementsAre('a', 'b', 'c'));
}

TEST(PnmTest, CommentsMayStandAnywhereInTheHeader) {
  EXPECT_THAT(decoded("P5# one\n# two 9 9\r\t2#three\n 1 #\n\n#\n255\n#b").pixels, ElementsAre('#', 'b'));
}

TEST(PnmTest, SamplesAreScaledToEightBits) {
  EXPECT_THAT(decoded(std::string("P5 5 1 4\n\0\1\2\3\4", 14)).pixels, ElementsAre(0, 64, 128, 191, 255));
  EXPECT_THAT(decoded(std::string("P5 2 1 1\n\0\1", 11)).pixels, ElementsAre(0, 255));
  EXPECT_THAT(decoded(std::string("P5 4 1 65535\n\x00\x00\x01\x01\x80\x00\xff\xff", 21)).pixels,
              ElementsAre(0, 1, 128, 255));
  EXPECT_THAT(decoded(std::string("P6 1 1 256\n\x00\x00\x00\x80\x01\x00", 17)).pixels,
              ElementsAre(0, 128, 255));
}

TEST(PnmTest, FalseHeadersAreRefused) {
  expect_refused("P5", "is of no known image format");
  expect_refused("P5x", "is of no known image format");
  expect_refused("P4\n1 1\n\x80", "is of no known image format");
  expect_refused("P5 \n", "a number is missing");
  expect_refused("P5 # no end of the comment", "a number is missing");
  expect_refused("P5 -1 1 255 a", "a number is missing");
  expect_refused("P5 1 1 255", "does not end");
  expect_refused("P5 1 1 255x", "does not end");
  expect_refused("P5 0 1 255 a", "its size is 0 x 1");
  expect_refused("P5 1 0 255 a", "its size is 1 x 0");
  expect_refused("P5 1 1 0 a", "not in 1 .. 65535");
  expect_refused("P5 1 1 65536 aaa", "not in 1 .. 65535");
  expect_refused("P5 99999999999999999999 1 255 a", "too large");
  expect_refused("P5 1 1 96 a", "a sample is above its largest value");
  expect_refused("P5 2 1 255 a", "truncated");
  expect_refused("P6 1 1 65535 12345", "truncated");
}

// ---- BMP

struct Bmp {
  std::int32_t width = 2;
  std::int32_t height = 2;
  std::uint32_t bits = 24;
  std::uint32_t compression = 0;
  std::uint32_t colours = 0;
  std::string beyond_header;  // masks or palette
  std::string pixels;
  std::uint32_t header_bytes = 40;

  std::string bytes() const {
    const auto offset = static_cast<std::uint32_t>(54 + beyond_header.size());
    return "BM" + little_endian(offset + static_cast<std::uint32_t>(pixels.size())) + little_endian(0) +
           little_endian(offset) + little_endian(header_bytes) +
           little_endian(static_cast<std::uint32_t>(width)) +
           little_endian(static_cast<std::uint32_t>(height)) + little_endian(1, 2) + little_endian(bits, 2) +
           little_endian(compression) + little_endian(0) + little_endian(0) + little_endian(0) +
           little_endian(colours) + little_endian(0) + beyond_header + pixels;
  }
};

// 2 x 2 in blue, green, red, each row padded from 6 to 8 bytes.
Bmp small_bmp() {
  Bmp bmp;
  bmp.pixels = text_of({1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0});
  return bmp;
}

TEST(BmpTest, TwentyFourBitsFromTheBottomOrTheTop) {
  Bmp bmp = small_bmp();
  EXPECT_THAT(decoded(bmp.bytes()).pixels, ElementsAre(9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4));
  bmp.height = -2;
  const Image image = decoded(bmp.bytes());
  EXPECT_EQ(image.height, 2);
  EXPECT_EQ(image.channels, 3);
  EXPECT_THAT(image.pixels, ElementsAre(3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10));
}

TEST(BmpTest, ThirtyTwoBitsIgnoreTheUnusedByte) {
  Bmp bmp;
  bmp.height = 1;
  bmp.bits = 32;
  bmp.pixels = text_of({1, 2, 3, 0, 4, 5, 6, 99});
  EXPECT_THAT(decoded(bmp.bytes()).pixels, ElementsAre(3, 2, 1, 6, 5, 4));
}

TEST(BmpTest, ThirtyTwoBitsWithMasksAndAlpha) {
  Bmp bmp;
  bmp.height = 1;
  bmp.bits = 32;
  bmp.compression = 3;
  bmp.pixels = text_of({10, 20, 30, 0, 100, 200, 250, 128});
  bmp.beyond_header = little_endian(0xff0000) + little_endian(0xff00) + little_endian(0xff);
  EXPECT_THAT(decoded(bmp.bytes()).pixels, ElementsAre(30, 20, 10, 250, 200, 100));

  bmp.header_bytes = 56;  // the masks and one for alpha belong to the header
  bmp.beyond_header += little_endian(0xff000000);
  EXPECT_THAT(decoded(bmp.bytes()).pixels, ElementsAre(0, 0, 0, 125, 100, 50));

  bmp.beyond_header =
      little_endian(0xff) + little_endian(0xff00) + little_endian(0xff0000) + little_endian(0);
  expect_refused(bmp.bytes(), "order of its colours");
}

TEST(BmpTest, PalettesOfColoursAndOfGreys) {
  Bmp bmp;
  bmp.bits = 8;
  bmp.colours = 2;
  bmp.beyond_header = text_of({1, 2, 3, 0, 4, 5, 6, 0});
  bmp.pixels = text_of({1, 0, 0, 0, 0, 0, 0, 0});
  const Image colour = decoded(bmp.bytes());
  EXPECT_EQ(colour.channels, 3);
  EXPECT_THAT(colour.pixels, ElementsAre(3, 2, 1, 3, 2, 1, 6, 5, 4, 3, 2, 1));

  bmp.beyond_header = text_of({7, 7, 7, 0, 9, 9, 9, 0});
  const Image grey = decoded(bmp.bytes());
  EXPECT_EQ(grey.channels, 1);
  EXPECT_THAT(grey.pixels, ElementsAre(7, 7, 9, 7));

  bmp.pixels[5] = 2;
  expect_refused(bmp.bytes(), "outside its palette");
}

TEST(BmpTest, FalseHeadersAreRefused) {
  const auto refused = [](const std::function<void(Bmp&)>& spoil, const std::string& message) {
    Bmp bmp = small_bmp();
    spoil(bmp);
    expect_refused(bmp.bytes(), message);
  };
  refused([](Bmp& bmp) { bmp.header_bytes = 12; }, "OS/2");
  for (const std::uint32_t bits : {0, 1, 4, 16, 64}) {
    refused([&](Bmp& bmp) { bmp.bits = bits; }, "of " + std::to_string(bits) + " bits per pixel");
  }
  refused([](Bmp& bmp) { bmp.compression = 1; }, "compressed");
  refused([](Bmp& bmp) { bmp.width = 0; }, "its size is 0 x 2");
  refused([](Bmp& bmp) { bmp.width = -2; }, "its size is -2 x 2");
  refused([](Bmp& bmp) { bmp.height = 3; }, "truncated");
  refused([](Bmp& bmp) { bmp.bits = 8, bmp.colours = 257; }, "more than 256 colours");
  refused([](Bmp& bmp) { bmp.bits = 8, bmp.header_bytes = 0xfffffff0; }, "truncated");
  std::string bytes = small_bmp().bytes();
  bytes.replace(10, 4, little_endian(0xffffffff));  // where the pixels begin
  expect_refused(bytes, "truncated");
}

// ---- PNG

std::string chunk(const std::string& type, const std::string& data) {
  const std::string checked = type + data;
  const auto crc =
      ::crc32(0, reinterpret_cast<const Bytef*>(checked.data()), static_cast<uInt>(checked.size()));
  return big_endian(static_cast<std::uint32_t>(data.size())) + checked +
         big_endian(static_cast<std::uint32_t>(crc));
}

std::string deflated(const std::string& data) {
  uLongf size = ::compressBound(data.size());
  std::string result(size, '\0');
  ::compress(reinterpret_cast<Bytef*>(result.data()), &size, reinterpret_cast<const Bytef*>(data.data()),
             data.size());
  return result.substr(0, size);
}

enum PngColour : std::uint8_t { grey = 0, rgb = 2, palette = 3, grey_alpha = 4, rgb_alpha = 6 };

// `rows` are the unfiltered rows, each behind its filter byte 0.
std::string make_png(std::uint32_t width, std::uint32_t height, std::uint8_t depth, PngColour colour,
                     const Bytes& rows, const std::string& chunks_before = "") {
  return "\x89PNG\r\n\x1a\n" +
         chunk("IHDR", big_endian(width) + big_endian(height) + text_of({depth, colour, 0, 0, 0})) +
         chunks_before + chunk("IDAT", deflated(text_of(rows))) + chunk("IEND", "");
}

TEST(PngTest, EncodingIsLossless) {
  Rng rng(1);
  for (int i = 0; i < 60; ++i) {
    const Image image = random_image(rng, 1 + rng.below(20), 1 + rng.below(20), i % 2 == 0 ? 1 : 3);
    const Image again = decoded(encode_png(image));
    EXPECT_EQ(again.height, image.height);
    EXPECT_EQ(again.width, image.width);
    EXPECT_EQ(again.channels, image.channels);
    EXPECT_EQ(again.pixels, image.pixels);
  }
}

TEST(PngTest, EncodingRequiresAWholeImage) {
  const auto refused = [](const Image& image) {
    expect_error(ErrorKind::internal, {"encode_png"}, [&] { encode_png(image); });
  };
  refused({});
  refused({1, 1, 2, Bytes(2)});
  refused({1, 1, 4, Bytes(4)});
  refused({2, 2, 1, Bytes(3)});
  refused({2, 2, 3, Bytes(13)});
  refused({-1, -1, 1, Bytes(1)});
  refused({std::int64_t{1} << 32, std::int64_t{1} << 32, 1, {}});  // the product is 2^64, which is 0
}

TEST(PngTest, FewerBitsAreScaledToEight) {
  const Image one_bit = decoded(make_png(3, 1, 1, grey, {0, 0b10100000}));
  EXPECT_EQ(one_bit.channels, 1);
  EXPECT_THAT(one_bit.pixels, ElementsAre(255, 0, 255));
  EXPECT_THAT(decoded(make_png(2, 1, 4, grey, {0, 0x1f})).pixels, ElementsAre(17, 255));
}

TEST(PngTest, SixteenBitsAreScaledToEight) {
  EXPECT_THAT(decoded(make_png(4, 1, 16, grey, {0, 0, 0, 1, 1, 0x80, 0x80, 0xff, 0xff})).pixels,
              ElementsAre(0, 1, 128, 255));
  EXPECT_THAT(decoded(make_png(1, 1, 16, rgb, {0, 10, 10, 20, 20, 30, 30})).pixels, ElementsAre(10, 20, 30));
  EXPECT_THAT(decoded(make_png(1, 1, 16, grey_alpha, {0, 200, 200, 0x80, 0x80})).pixels, ElementsAre(100));
}

TEST(PngTest, AlphaIsCompositedOnBlack) {
  // 200 * 128 / 255 = 100.4, 100 * 128 / 255 = 50.2, 50 * 128 / 255 = 25.1
  const Image image = decoded(make_png(3, 1, 8, rgb_alpha, {0, 1, 2, 3, 255, 200, 100, 50, 128, 9, 9, 9, 0}));
  EXPECT_EQ(image.channels, 3);
  EXPECT_THAT(image.pixels, ElementsAre(1, 2, 3, 100, 50, 25, 0, 0, 0));
  const Image grey_image = decoded(make_png(2, 1, 8, grey_alpha, {0, 77, 255, 200, 128}));
  EXPECT_EQ(grey_image.channels, 1);
  EXPECT_THAT(grey_image.pixels, ElementsAre(77, 100));
}

TEST(PngTest, PalettesGiveColoursAndMayBeTransparent) {
  const std::string colours = chunk("PLTE", text_of({200, 100, 50, 4, 5, 6}));
  EXPECT_THAT(decoded(make_png(2, 1, 8, palette, {0, 1, 0}, colours)).pixels,
              ElementsAre(4, 5, 6, 200, 100, 50));
  EXPECT_THAT(decoded(make_png(2, 1, 8, palette, {0, 1, 0}, colours + chunk("tRNS", text_of({128})))).pixels,
              ElementsAre(4, 5, 6, 100, 50, 25));
}

TEST(PngTest, AnotherGammaIsConvertedAndSrgbsIsNot) {
  EXPECT_THAT(decoded(make_png(2, 1, 8, grey, {0, 20, 128}, chunk("gAMA", big_endian(45455)))).pixels,
              ElementsAre(20, 128));
  // Linear light, encoded with sRGB's nominal gamma: 255 * (128 / 255)^(1 / 2.2) = 186.4.
  EXPECT_THAT(decoded(make_png(1, 1, 8, grey, {0, 128}, chunk("gAMA", big_endian(100000)))).pixels,
              ElementsAre(186));
}

TEST(PngTest, CorruptFilesAreRefused) {
  const Bytes rows = {0, 1, 2, 0, 3, 4};
  const std::string good = make_png(2, 2, 8, grey, rows);
  EXPECT_THAT(decoded(good).pixels, ElementsAre(1, 2, 3, 4));
  std::string bad_sum = good;
  bad_sum[good.find("IDAT") + 6] ^= 1;
  expect_refused(bad_sum, "is not a valid PNG image");
  expect_refused(make_png(2, 3, 8, grey, rows), "is not a valid PNG image");  // a row is missing
  expect_refused(make_png(2, 2, 3, grey, rows), "is not a valid PNG image");  // no such depth
  expect_refused(make_png(0, 2, 8, grey, rows), "is not a valid PNG image");
  expect_refused(make_png(2, 2, 8, palette, rows), "is not a valid PNG image");  // without a palette
  expect_refused(make_png(2, 2, 8, grey, {9, 1, 2, 0, 3, 4}), "is not a valid PNG image");  // no such filter
  expect_refused(good.substr(0, 8) + good.substr(33), "is not a valid PNG image");          // no header
  expect_refused(good.substr(0, 33) + chunk("IEND", ""), "is not a valid PNG image");       // no pixels
  expect_refused(good.substr(0, 33) + big_endian(0xffffffff) + "IDAT", "truncated");
}

// ---- JPEG

std::string make_jpeg(const Image& image, TJPF pixel_format, TJSAMP subsampling, int flags = 0) {
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitCompress(), tjDestroy);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  const int status =
      tjCompress2(handle.get(), image.pixels.data(), static_cast<int>(image.width), 0,
                  static_cast<int>(image.height), pixel_format, &buffer, &size, subsampling, 95, flags);
  EXPECT_EQ(status, 0) << tjGetErrorStr2(handle.get());
  const std::string bytes(buffer, buffer + size);
  tjFree(buffer);
  return bytes;
}

Image constant(std::int64_t height, std::int64_t width, const Bytes& pixel) {
  Image image{height, width, static_cast<std::int64_t>(pixel.size()), {}};
  for (std::int64_t i = 0; i < height * width; ++i)
    image.pixels.insert(image.pixels.end(), pixel.begin(), pixel.end());
  return image;
}

void expect_constant(const Image& image, const Bytes& pixel, int tolerance) {
  ASSERT_EQ(image.channels, static_cast<std::int64_t>(pixel.size()));
  ASSERT_EQ(image.pixels.size(), static_cast<std::size_t>(image.height * image.width * image.channels));
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    ASSERT_NEAR(image.pixels[i], pixel[i % pixel.size()], tolerance) << i;
  }
}

TEST(JpegTest, AConstantColourSurvives) {
  for (const TJSAMP subsampling : {TJSAMP_444, TJSAMP_422, TJSAMP_420}) {
    for (const int flags : {0, TJFLAG_PROGRESSIVE}) {
      const Image image = decoded(make_jpeg(constant(13, 21, {200, 100, 50}), TJPF_RGB, subsampling, flags));
      EXPECT_EQ(image.height, 13);
      EXPECT_EQ(image.width, 21);
      expect_constant(image, {200, 100, 50}, 2);
    }
  }
}

// Four quarters of one colour each, of 40 x 56 pixels: blocks of 8 x 8 lie within one.
TEST(JpegTest, MayComeSmallerAsLongAsItIsLargeEnough) {
  Image image{80, 112, 1, {}};
  for (int y = 0; y < 80; ++y) {
    for (int x = 0; x < 112; ++x)
      image.pixels.push_back(static_cast<std::uint8_t>(50 + 60 * (x / 56) + 100 * (y / 40)));
  }
  const std::string jpeg = make_jpeg(image, TJPF_GRAY, TJSAMP_GRAY);
  const auto size_for = [&](std::int64_t height, std::int64_t width) {
    DecodeLimits limits;
    limits.target_height = height;
    limits.target_width = width;
    const Image result = decode_image(jpeg, "test image", 0, limits);
    for (const std::int64_t y : {std::int64_t{0}, result.height - 1}) {
      for (const std::int64_t x : {std::int64_t{0}, result.width - 1}) {
        EXPECT_NEAR(result.pixels[static_cast<std::size_t>(y * result.width + x)],
                    50 + (x > 0 ? 60 : 0) + (y > 0 ? 100 : 0), 2);
      }
    }
    return std::make_pair(result.height, result.width);
  };
  EXPECT_EQ(size_for(0, 0), std::make_pair(std::int64_t{80}, std::int64_t{112}));
  EXPECT_EQ(size_for(21, 1), std::make_pair(std::int64_t{80}, std::int64_t{112}));
  EXPECT_EQ(size_for(20, 28), std::make_pair(std::int64_t{40}, std::int64_t{56}));
  EXPECT_EQ(size_for(5, 14), std::make_pair(std::int64_t{20}, std::int64_t{28}));
  EXPECT_EQ(size_for(5, 7), std::make_pair(std::int64_t{10}, std::int64_t{14}));
}

std::optional<JpegPlanes> planes_of(const std::string& bytes, std::int64_t target_height,
                                    std::int64_t target_width) {
  DecodeLimits limits;
  limits.target_height = target_height;
  limits.target_width = target_width;
  return decode_jpeg_planes(bytes, "test image", limits);
}

// (200, 100, 50): Y = 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2, Cb = 128 + 0.564 * (50 - Y) = 86.2,
// Cr = 128 + 0.713 * (200 - Y) = 182.0.
TEST(JpegTest, PlanesAreStoredOnesOfTheirOwnSize) {
  struct Case {
    TJSAMP subsampling;
    std::int64_t rows, columns;
  };
  for (const Case& of : {Case{TJSAMP_444, 1, 1}, Case{TJSAMP_422, 1, 2}, Case{TJSAMP_420, 2, 2},
                         Case{TJSAMP_440, 2, 1}, Case{TJSAMP_411, 1, 4}}) {
    for (const int flags : {0, TJFLAG_PROGRESSIVE}) {
      const auto jpeg =
          planes_of(make_jpeg(constant(13, 21, {200, 100, 50}), TJPF_RGB, of.subsampling, flags), 12, 20);
      ASSERT_TRUE(jpeg);
      EXPECT_EQ(jpeg->height, 13);
      EXPECT_EQ(jpeg->width, 21);
      EXPECT_EQ(jpeg->rows, of.rows);
      EXPECT_EQ(jpeg->columns, of.columns);
      EXPECT_GE(jpeg->planes[0].height, 13);
      EXPECT_GE(jpeg->planes[0].width, 21);
      expect_constant(jpeg->planes[0], {124}, 1);
      for (const std::size_t i : {1U, 2U}) {
        EXPECT_EQ(jpeg->planes[i].height, (13 + of.rows - 1) / of.rows);
        EXPECT_EQ(jpeg->planes[i].width, (21 + of.columns - 1) / of.columns);
      }
      expect_constant(jpeg->planes[1], {86}, 1);
      expect_constant(jpeg->planes[2], {182}, 1);
    }
  }
}

TEST(JpegTest, OnlyColourThatIsToBecomeALittleSmallerComesAsPlanes) {
  const std::string colour = make_jpeg(constant(40, 40, {200, 100, 50}), TJPF_RGB, TJSAMP_420);
  EXPECT_TRUE(planes_of(colour, 39, 39));
  EXPECT_TRUE(planes_of(colour, 11, 39));
  EXPECT_FALSE(planes_of(colour, 40, 39));  // not larger
  EXPECT_FALSE(planes_of(colour, 39, 40));
  EXPECT_FALSE(planes_of(colour, 10, 10));  // decoded at a half
  EXPECT_TRUE(planes_of(colour, 11, 11));
  EXPECT_FALSE(planes_of(make_jpeg(constant(40, 40, {77}), TJPF_GRAY, TJSAMP_GRAY), 39, 39));
  EXPECT_FALSE(planes_of(make_jpeg(constant(40, 40, {9, 9, 9, 9}), TJPF_CMYK, TJSAMP_444), 39, 39));
  EXPECT_FALSE(planes_of(encode_png(constant(40, 40, {200, 100, 50})), 39, 39));
}

TEST(JpegTest, PlanesOfCorruptOrTooLargeFilesAreRefused) {
  Rng rng(3);
  const std::string good = make_jpeg(random_image(rng, 16, 16, 3), TJPF_RGB, TJSAMP_420);
  const auto refused = [](const std::string& bytes, const std::string& message, const DecodeLimits& limits) {
    expect_error(ErrorKind::data, {"test image: ", message},
                 [&] { decode_jpeg_planes(bytes, "test image", limits); });
  };
  std::string cut = good;
  cut.replace(cut.size() - 40, 2, "\xff\xd9", 2);  // an end within the pixels
  DecodeLimits smaller;
  smaller.target_height = smaller.target_width = 15;
  refused(cut, "is not a valid JPEG image", smaller);
  refused("\xff\xd8\xff", "is not a valid JPEG image", {});
  DecodeLimits limits;
  limits.max_pixels = 255;
  refused(good, "more than the limit of 255", limits);
  limits = {};
  limits.max_file_bytes = good.size() - 1;
  refused(good, "is larger than the limit", limits);
  // As many as libjpeg reads.
  std::string huge = good;
  huge.replace(huge.find("\xff\xc0") + 5, 4, "\xff\xdc\xff\xdc");
  refused(huge, "declares 65500 x 65500 pixels", {});
}

TEST(JpegTest, GreyStaysGrey) {
  expect_constant(decoded(make_jpeg(constant(8, 9, {77}), TJPF_GRAY, TJSAMP_GRAY)), {77}, 1);
}

TEST(JpegTest, CmykBecomesRgb) {
  // Adobe's inverted inks: 200 * 128 / 255 = 100, and so on.
  std::string bytes = make_jpeg(constant(8, 8, {200, 100, 50, 128}), TJPF_CMYK, TJSAMP_444);
  expect_constant(decoded(bytes), {100, 50, 25}, 3);

  // Without Adobe's marker the stored planes are the inks themselves. Those of inks (200,200,200,128) are
  // (Y, Cb, Cr, K) = (55,128,128,128): red is (255 - 55) * (255 - 128) / 255.
  bytes = make_jpeg(constant(8, 8, {200, 200, 200, 128}), TJPF_CMYK, TJSAMP_444);
  bytes.erase(bytes.find("\xff\xee"), 16);
  expect_constant(decoded(bytes), {100, 63, 63}, 2);
}

TEST(JpegTest, CorruptFilesAreRefused) {
  Rng rng(2);
  const std::string good = make_jpeg(random_image(rng, 16, 16, 3), TJPF_RGB, TJSAMP_444);
  expect_refused("\xff\xd8\xff", "is not a valid JPEG image");
  std::string bytes = good;
  bytes.replace(bytes.size() / 2, 2, "\xff\xd9",
                2);  // an end within the pixels, of which libjpeg merely warns
  expect_refused(bytes, "is not a valid JPEG image");
}

// ---- all formats

TEST(DecodeTest, ColourBecomesLuma) {
  const auto luma = [](std::uint8_t r, std::uint8_t g, std::uint8_t b) {
    return decoded("P6 1 1 255 " + text_of({r, g, b}), 1).pixels;
  };
  EXPECT_THAT(luma(255, 0, 0), ElementsAre(76));   // 76.2
  EXPECT_THAT(luma(0, 255, 0), ElementsAre(150));  // 149.7
  EXPECT_THAT(luma(0, 0, 255), ElementsAre(29));   // 29.1
  EXPECT_THAT(luma(10, 20, 30), ElementsAre(18));  // 18.2
  for (int grey_level = 0; grey_level < 256; ++grey_level) {
    const auto v = static_cast<std::uint8_t>(grey_level);
    EXPECT_THAT(luma(v, v, v), ElementsAre(v));
  }
}

TEST(DecodeTest, EveryFormatGivesTheSameLuma) {
  Bmp bmp;
  bmp.width = bmp.height = 1;
  bmp.pixels = text_of({30, 200, 10, 0});
  const Bytes expected = decoded("P6 1 1 255 " + text_of({10, 200, 30}), 1).pixels;
  EXPECT_EQ(decoded(bmp.bytes(), 1).pixels, expected);
  EXPECT_EQ(decoded(encode_png({1, 1, 3, {10, 200, 30}}), 1).pixels, expected);

  Rng rng(3);
  const std::string jpeg = make_jpeg(random_image(rng, 9, 9, 3), TJPF_RGB, TJSAMP_420);
  EXPECT_EQ(decoded(jpeg, 1).pixels, decoded(encode_png(decoded(jpeg)), 1).pixels);
}

TEST(DecodeTest, GreyIsRepeated) {
  const Image image = decoded("P5 2 1 255 ab", 3);
  EXPECT_EQ(image.channels, 3);
  EXPECT_THAT(image.pixels, ElementsAre('a', 'a', 'a', 'b', 'b', 'b'));
  EXPECT_THAT(decoded("P5 2 1 255 ab", 1).pixels, ElementsAre('a', 'b'));
  EXPECT_THAT(decoded("P6 1 1 255 abc", 3).pixels, ElementsAre('a', 'b', 'c'));
}

TEST(DecodeTest, WhatCannotBeAskedForIsRefused) {
  for (const std::int64_t channels : {-1, 2, 4}) {
    expect_error(ErrorKind::internal, {"1 or 3 channels"}, [&] { decoded("P5 1 1 255 a", channels); });
  }
  expect_refused("", "is empty");
  expect_refused("GIF89a", "is of no known image format; JPEG, PNG");
}

struct Sample {
  std::string name;
  std::string bytes;
};

// One small file of each kind.
std::vector<Sample> samples() {
  Rng rng(4);
  const Image colour = random_image(rng, 5, 7, 3);
  Bmp palette_bmp;
  palette_bmp.bits = 8;
  palette_bmp.colours = 3;
  palette_bmp.beyond_header = text_of({1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0});
  palette_bmp.pixels = text_of({1, 0, 0, 0, 2, 0, 0, 0});
  Bmp alpha_bmp;
  alpha_bmp.bits = 32;
  alpha_bmp.compression = 3;
  alpha_bmp.header_bytes = 56;
  alpha_bmp.beyond_header =
      little_endian(0xff0000) + little_endian(0xff00) + little_endian(0xff) + little_endian(0xff000000);
  alpha_bmp.pixels = std::string(16, 'p');
  return {
      {"jpeg", make_jpeg(colour, TJPF_RGB, TJSAMP_420)},
      {"progressive jpeg", make_jpeg(colour, TJPF_RGB, TJSAMP_444, TJFLAG_PROGRESSIVE)},
      {"grey jpeg", make_jpeg(random_image(rng, 9, 4, 1), TJPF_GRAY, TJSAMP_GRAY)},
      {"cmyk jpeg", make_jpeg(random_image(rng, 3, 3, 4), TJPF_CMYK, TJSAMP_444)},
      {"png", encode_png(colour)},
      {"alpha png", make_png(2, 2, 8, rgb_alpha, {0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 8, 7, 6, 5, 4, 3, 2, 1})},
      {"palette png", make_png(2, 1, 8, palette, {0, 1, 0}, chunk("PLTE", "abcdef") + chunk("tRNS", "x"))},
      {"16-bit png", make_png(1, 2, 16, grey, {0, 1, 2, 0, 3, 4})},
      {"ppm", "P6 # a comment\n2 2\n255\n0123456789ab"},
      {"16-bit pgm", "P5\n2 1\n65535\nabcd"},
      {"bmp", small_bmp().bytes()},
      {"palette bmp", palette_bmp.bytes()},
      {"alpha bmp", alpha_bmp.bytes()},
  };
}

TEST(RobustnessTest, AFileCutAnywhereIsADataError) {
  for (const Sample& sample : samples()) {
    SCOPED_TRACE(sample.name);
    EXPECT_NO_THROW(decoded(sample.bytes));
    for (std::size_t length = 0; length < sample.bytes.size(); ++length) {
      SCOPED_TRACE(length);
      expect_refused(sample.bytes.substr(0, length), "");
    }
  }
}

std::string mutated(std::string bytes, Rng& rng) {
  for (std::int64_t changes = 1 + rng.below(4); changes > 0 && !bytes.empty(); --changes) {
    const auto at = static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(bytes.size())));
    switch (rng.below(5)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(rng.below(256));
        break;
      case 2:
        bytes[at] = rng.chance(0.5) ? '\xff' : '\0';
        break;
      case 3:
        bytes.erase(at, static_cast<std::size_t>(1 + rng.below(8)));
        break;
      default:
        bytes.insert(at, bytes.substr(at, static_cast<std::size_t>(1 + rng.below(8))));
    }
  }
  return bytes;
}

// Checksums would stop most mutations of a PNG at the door: this makes them right again.
std::string with_right_checksums(const std::string& png) {
  constexpr std::size_t signature = 8, around = 12;
  std::string result = png.substr(0, signature);
  for (std::size_t at = signature; at + around <= png.size();) {
    const auto byte = [&](std::size_t i) { return std::size_t{static_cast<std::uint8_t>(png[at + i])}; };
    const std::size_t length = byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
    if (length > png.size() - at - around) return result + png.substr(at);
    result += chunk(png.substr(at + 4, 4), png.substr(at + 8, length));
    at += around + length;
  }
  return result;
}

TEST(RobustnessTest, MutatedFilesGiveAnImageOrAnError) {
  DecodeLimits limits;
  limits.max_pixels = 1 << 16;
  for (const Sample& sample : samples()) {
    SCOPED_TRACE(sample.name);
    Rng rng(derive_seed(5, sample.name));
    int images = 0, errors = 0;
    for (int i = 0; i < 3000; ++i) {
      std::string bytes = mutated(sample.bytes, rng);
      if (bytes.compare(0, 4, "\x89PNG") == 0) bytes = with_right_checksums(bytes);
      try {
        const Image image = decode_image(bytes, "mutated", rng.below(2) * 3, limits);
        ++images;
        ASSERT_GT(image.height, 0);
        ASSERT_GT(image.width, 0);
        ASSERT_LE(image.height * image.width, limits.max_pixels);
        ASSERT_TRUE(image.channels == 1 || image.channels == 3);
        ASSERT_EQ(image.pixels.size(), static_cast<std::size_t>(image.height * image.width * image.channels));
      } catch (const Error& error) {
        ++errors;
        ASSERT_EQ(error.kind(), ErrorKind::data) << error.what();
      }
    }
    EXPECT_GT(errors, 100);
    EXPECT_GT(images, 10);
  }
}

TEST(RobustnessTest, FalseSizesAreRefusedByTheHeader) {
  const std::string over = "more than the limit of 100000000";
  expect_refused("P6 100001 1000 255 ", over);
  expect_refused("P5 9999999999 9999999999 65535 ", over);
  expect_refused(make_png(100001, 1000, 8, grey, {0}), over);
  for (const std::int32_t height : {100001, -100001, std::numeric_limits<std::int32_t>::min()}) {
    Bmp bmp = small_bmp();
    bmp.width = 1000;
    bmp.height = height;
    expect_refused(bmp.bytes(), over);
    bmp.width = std::numeric_limits<std::int32_t>::max();
    expect_refused(bmp.bytes(), over);
  }
  std::string jpeg = make_jpeg(constant(8, 8, {1}), TJPF_GRAY, TJSAMP_GRAY);
  const std::size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xff\xdc\xff\xdc");  // 65500 x 65500, JPEG's largest
  expect_refused(jpeg, "declares 65500 x 65500 pixels, " + over);

  // Within the limit, but not within the file: refused before anything is allocated.
  DecodeLimits unlimited;
  unlimited.max_pixels = std::numeric_limits<std::int64_t>::max();
  expect_refused("P6 2000000000 2000000000 255 ", "truncated", unlimited);
  Bmp bmp = small_bmp();
  bmp.width = bmp.height = std::numeric_limits<std::int32_t>::max();
  expect_refused(bmp.bytes(), "truncated", unlimited);
}

TEST(RobustnessTest, LimitsAreExact) {
  for (const Sample& sample : samples()) {
    SCOPED_TRACE(sample.name);
    const Image image = decoded(sample.bytes);
    DecodeLimits limits;
    limits.max_pixels = image.height * image.width;
    limits.max_file_bytes = sample.bytes.size();
    EXPECT_EQ(decode_image(sample.bytes, "test image", 0, limits).pixels, image.pixels);
    --limits.max_pixels;
    expect_refused(sample.bytes, "more than the limit", limits);
    --limits.max_file_bytes;
    expect_refused(sample.bytes, "is larger than the limit", limits);
  }
}

// ---- files

TEST(ReadImageTest, GoesByTheContentNotTheName) {
  const TemporaryFolder folder;
  EXPECT_THAT(read_image(folder.write("a.png", "P5 2 1 255 ab")).pixels, ElementsAre('a', 'b'));
  EXPECT_THAT(read_image(folder.write("b", encode_png({1, 1, 3, {1, 1, 1}})), 1).pixels, ElementsAre(1));
}

TEST(ReadImageTest, ErrorsNameTheFile) {
  const TemporaryFolder folder;
  expect_error(ErrorKind::io, {(folder / "absent.png").string() + ": cannot open"},
               [&] { read_image(folder / "absent.png"); });
  expect_error(ErrorKind::data, {(folder / "a.png").string() + ": is of no known image format"},
               [&] { read_image(folder.write("a.png", "hello")); });
  const std::filesystem::path huge = folder.write("huge.png", "P5 1 1 255 a");
  std::filesystem::resize_file(huge, std::uintmax_t{1} << 40);  // sparse
  expect_error(ErrorKind::data, {huge.string() + ": is larger than the limit"}, [&] { read_image(huge); });
}

TEST(HasImageExtensionTest, IgnoresCase) {
  for (const char* name : {"a.jpg", "a.JPEG", "b/c.d.Png", "x.ppm", "x.PGM", "x.bmp"}) {
    EXPECT_TRUE(has_image_extension(name)) << name;
  }
  for (const char* name : {"", "jpg", ".png", "a.jpg.txt", "a.jp", "a.gif", "a.png/b"}) {
    EXPECT_FALSE(has_image_extension(name)) << name;
  }
}

}  // namespace
}  // namespace mcci
