#pragma once

#include <cstdint>
#include <filesystem>
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

struct DecodeLimits {
  std::uint64_t max_file_bytes = std::uint64_t{256} << 20;
  std::int64_t max_pixels = 100'000'000;  // width x height, checked on the header, before allocating
  // A JPEG may be decoded at a half, a quarter or an eighth of its size, as long as it keeps these sides: its
  // transform averages at once what a later reduction would. 0: always whole.
  std::int64_t enough_height = 0;
  std::int64_t enough_width = 0;
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

// True if the file's name has one of the extensions that are read (.jpg .jpeg .png .ppm .pgm .bmp, any case).
bool has_image_extension(const std::filesystem::path& path);

// Lossless PNG. Requires 1 or 3 channels and pixels of the declared size.
std::string encode_png(const Image& image);

}  // namespace mcci
