#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mcci/imageio/image.hpp"

// The decoders behind decode_image(), one source file each. They give grey images 1 channel and all others 3.
namespace mcci::imageio {

// One encoded image as a decoder sees it.
struct Source {
  std::string_view bytes;
  const std::string& name;  // for messages
  const DecodeLimits& limits;

  // Throws Error(data): "name: is not a valid JPEG image (what)".
  [[noreturn]] void fail(const char* format, const std::string& what) const;

  // Throws Error(data) if there are more bytes than the limit.
  void check_bytes() const;

  // Throws Error(data) unless width x height, as a header declares it, is above 0 and within the limit.
  void check_size(const char* format, std::int64_t width, std::int64_t height) const;
};

bool is_jpeg(std::string_view bytes);
bool is_png(std::string_view bytes);
bool is_pnm(std::string_view bytes);
bool is_bmp(std::string_view bytes);

Image decode_jpeg(const Source& source);
std::optional<JpegPlanes> decode_jpeg_planes(const Source& source);
Image decode_png(const Source& source);
Image decode_pnm(const Source& source);
Image decode_bmp(const Source& source);

// An image of black pixels; its size has been checked.
Image make_image(std::int64_t height, std::int64_t width, std::int64_t channels);

inline std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

// `sample` on black, `alpha` of 255 opaque, rounded.
inline std::uint8_t on_black(std::uint8_t sample, std::uint8_t alpha) {
  return static_cast<std::uint8_t>((sample * alpha + 127) / 255);
}

}  // namespace mcci::imageio
