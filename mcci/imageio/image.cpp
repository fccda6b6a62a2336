#include "mcci/imageio/image.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/imageio/formats.hpp"

namespace mcci {
namespace imageio {

void Source::fail(const char* format, const std::string& what) const {
  throw Error(ErrorKind::data, "is not a valid " + std::string(format) + " image (" + what + ")", name);
}

void Source::check_bytes() const {
  if (bytes.size() <= limits.max_file_bytes) return;
  throw Error(ErrorKind::data,
              "is larger than the limit of " + std::to_string(limits.max_file_bytes) + " bytes", name);
}

void Source::check_size(const char* format, std::int64_t width, std::int64_t height) const {
  const std::string size = std::to_string(width) + " x " + std::to_string(height) + " pixels";
  if (width <= 0 || height <= 0) fail(format, "its size is " + size);
  if (width > limits.max_pixels / height) {
    throw Error(ErrorKind::data,
                "declares " + size + ", more than the limit of " + std::to_string(limits.max_pixels), name);
  }
}

Image make_image(std::int64_t height, std::int64_t width, std::int64_t channels) {
  Image image{height, width, channels, {}};
  image.pixels.resize(static_cast<std::size_t>(height) * static_cast<std::size_t>(width) *
                      static_cast<std::size_t>(channels));
  return image;
}

}  // namespace imageio

namespace {

struct Format {
  bool (*matches)(std::string_view bytes);
  Image (*decode)(const imageio::Source& source);
};

constexpr std::array<Format, 4> formats = {{
    {imageio::is_jpeg, imageio::decode_jpeg},
    {imageio::is_png, imageio::decode_png},
    {imageio::is_pnm, imageio::decode_pnm},
    {imageio::is_bmp, imageio::decode_bmp},
}};

// ITU-R BT.601 in thousandths, so that the result is the same on every machine.
std::uint8_t luma(std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  return static_cast<std::uint8_t>((299 * red + 587 * green + 114 * blue + 500) / 1000);
}

Image with_channels(Image image, std::int64_t channels) {
  if (channels == 0 || channels == image.channels) return image;
  Image result{image.height, image.width, channels, {}};
  if (channels == 1) {
    result.pixels.reserve(image.pixels.size() / 3);
    for (auto rgb = image.pixels.begin(); rgb != image.pixels.end(); rgb += 3) {
      result.pixels.push_back(luma(rgb[0], rgb[1], rgb[2]));
    }
  } else {
    result.pixels.reserve(image.pixels.size() * 3);
    for (const std::uint8_t grey : image.pixels) result.pixels.insert(result.pixels.end(), 3, grey);
  }
  return result;
}

}  // namespace

Image decode_image(std::string_view bytes, const std::string& name, std::int64_t channels,
                   const DecodeLimits& limits) {
  if (channels != 0 && channels != 1 && channels != 3) {
    throw Error(ErrorKind::internal,
                "an image can be decoded to 1 or 3 channels, not " + std::to_string(channels));
  }
  const imageio::Source source{bytes, name, limits};
  source.check_bytes();
  for (const Format& format : formats) {
    if (format.matches(bytes)) return with_channels(format.decode(source), channels);
  }
  throw Error(ErrorKind::data, bytes.empty() ? "is empty" : "is of no known image format", name,
              "JPEG, PNG, binary PPM or PGM, and BMP are read");
}

std::optional<JpegPlanes> decode_jpeg_planes(std::string_view bytes, const std::string& name,
                                             const DecodeLimits& limits) {
  const imageio::Source source{bytes, name, limits};
  source.check_bytes();
  if (!imageio::is_jpeg(bytes)) return std::nullopt;
  return imageio::decode_jpeg_planes(source);
}

Image read_image(const std::filesystem::path& path, std::int64_t channels, const DecodeLimits& limits) {
  return decode_image(read_file(path, limits.max_file_bytes), path.string(), channels, limits);
}

bool has_image_extension(const std::filesystem::path& path) {
  constexpr std::array<std::string_view, 6> known = {".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(known.begin(), known.end(), extension) != known.end();
}

}  // namespace mcci
