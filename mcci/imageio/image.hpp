#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mcci {

// Decoded pixels, row by row, channels interleaved (HWC), 8 bits each; 1 channel (grey) or 3 (RGB).
struct Image {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::vector<std::uint8_t> pixels;  // height * width * channels
};

// A colour JPEG as it is stored: luma, and two differences of colour, Cb and Cr, which mostly have fewer
// pixels. Full range (JFIF): 128 is no colour.
struct JpegPlanes {
  std::int64_t height = 0;  // of the image
  std::int64_t width = 0;
  std::int64_t rows = 1;  // of the image to one of Cb and Cr: 1, 2 or 4
  std::int64_t columns = 1;
  // Y, Cb, Cr of one channel each. Rows and columns beyond the image's are filling.
  std::array<Image, 3> planes;
};

struct DecodeLimits {
  std::uint64_t max_file_bytes = std::uint64_t{256} << 20;
  std::int64_t max_pixels = 100'000'000;  // width x height, checked on the header, before allocating
  // What the image will be brought to. A JPEG may be decoded at a half, a quarter or an eighth of its size,
  // as long as it stays twice as large: its transform averages at once what a later reduction would. 0:
  // always whole.
  std::int64_t target_height = 0;
  std::int64_t target_width = 0;
};

// Decodes JPEG, PNG, PPM/PGM (binary) or BMP (8-bit palette, 24 and 32 bits, uncompressed), recognised by its
// magic number, whatever the file is called. `name` is used in messages only.
// `channels` is 1 or 3: grey is repeated, colour is reduced to ITU-R BT.601 luma; 0 keeps grey images grey
// and gives RGB for all others. Alpha is composited on black, 16-bit samples are scaled to 8, CMYK is
// converted to RGB, a PNG that declares another gamma than sRGB's to sRGB. Orientation tags are ignored.
// Errors: data if the image is truncated, corrupt, of an unknown format or larger than the limits.
Image decode_image(std::string_view bytes, const std::string& name, std::int64_t channels = 0,
                   const DecodeLimits& limits = {});
// Errors: as above, and io if the file cannot be read.
Image read_image(const std::filesystem::path& path, std::int64_t channels = 0,
                 const DecodeLimits& limits = {});

// The planes of a colour JPEG that is larger than its target in `limits`, but not so large that it is decoded
// at a fraction of its size: then Cb and Cr are sharper as a part of the whole image. Nothing for all others:
// grey, CMYK or of another format, too. Errors: as above.
std::optional<JpegPlanes> decode_jpeg_planes(std::string_view bytes, const std::string& name,
                                             const DecodeLimits& limits = {});

// True if the file's name has one of the extensions that are read (.jpg .jpeg .png .ppm .pgm .bmp, any case).
bool has_image_extension(const std::filesystem::path& path);

// Lossless PNG. Requires 1 or 3 channels and pixels of the declared size.
std::string encode_png(const Image& image);

}  // namespace mcci
