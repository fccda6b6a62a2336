#include <vector>

#include <png.h>

#include "mcci/core/error.hpp"
#include "mcci/imageio/formats.hpp"

namespace mcci {
namespace imageio {
namespace {

constexpr const char* format = "PNG";
constexpr std::string_view signature("\x89PNG\r\n\x1a\n", 8);

// png_image with the memory behind it, which libpng frees itself on success and failure but not when we
// throw.
struct PngImage : png_image {
  PngImage() : png_image{} { version = PNG_IMAGE_VERSION; }
  ~PngImage() { png_image_free(this); }
  PngImage(const PngImage&) = delete;
  PngImage& operator=(const PngImage&) = delete;
};

// Walks the chunks to the end marker: libpng stops at the last row and would not miss what follows it.
void require_end(const Source& source) {
  constexpr std::size_t around = 12;  // length, type, checksum
  std::size_t at = signature.size();
  while (source.bytes.size() - at >= around) {
    const std::size_t length =
        std::size_t{byte_at(source.bytes, at)} << 24 | std::size_t{byte_at(source.bytes, at + 1)} << 16 |
        std::size_t{byte_at(source.bytes, at + 2)} << 8 | byte_at(source.bytes, at + 3);
    if (length > source.bytes.size() - at - around) break;
    if (source.bytes.substr(at + 4, 4) == "IEND") return;
    at += around + length;
  }
  source.fail(format, "truncated");
}

}  // namespace

bool is_png(std::string_view bytes) { return bytes.substr(0, signature.size()) == signature; }

Image decode_png(const Source& source) {
  require_end(source);
  PngImage png;
  if (png_image_begin_read_from_memory(&png, source.bytes.data(), source.bytes.size()) == 0) {
    source.fail(format, png.message);
  }
  const bool colour = (png.format & PNG_FORMAT_FLAG_COLOR) != 0;
  const bool alpha = (png.format & PNG_FORMAT_FLAG_ALPHA) != 0;
  png.format =
      colour ? (alpha ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB) : (alpha ? PNG_FORMAT_GA : PNG_FORMAT_GRAY);
  // Else 16-bit samples without a gamma would be taken for linear light.
  png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;

  source.check_size(format, png.width, png.height);
  Image image = make_image(png.height, png.width, PNG_IMAGE_SAMPLE_CHANNELS(png.format));
  if (png_image_finish_read(&png, nullptr, image.pixels.data(), 0, nullptr) == 0) {
    source.fail(format, png.message);
  }
  if (!alpha) return image;

  // libpng would composite in linear light; the stored values are blended, as a browser does.
  const auto stride = static_cast<std::size_t>(image.channels);
  Image opaque{image.height, image.width, image.channels - 1, {}};
  opaque.pixels.reserve(image.pixels.size() / stride * (stride - 1));
  for (std::size_t at = 0; at < image.pixels.size(); at += stride) {
    for (std::size_t i = 0; i + 1 < stride; ++i) {
      opaque.pixels.push_back(on_black(image.pixels[at + i], image.pixels[at + stride - 1]));
    }
  }
  return opaque;
}

}  // namespace imageio

std::string encode_png(const Image& image) {
  constexpr std::int64_t max_side = 1'000'000;  // libpng's own limit; also keeps the product below in range
  const bool sized =
      image.height > 0 && image.width > 0 && image.height <= max_side && image.width <= max_side &&
      (image.channels == 1 || image.channels == 3) &&
      image.pixels.size() == static_cast<std::size_t>(image.height * image.width * image.channels);
  if (!sized)
    throw Error(ErrorKind::internal, "encode_png needs 1 or 3 channels and pixels of the declared size");

  imageio::PngImage png;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&png, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr) == 0) {
    throw Error(ErrorKind::internal, std::string("libpng cannot encode the image (") + png.message + ")");
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace mcci
