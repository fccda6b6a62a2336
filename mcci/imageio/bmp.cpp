#include <algorithm>
#include <array>
#include <vector>

#include "mcci/imageio/formats.hpp"

namespace mcci::imageio {
namespace {

constexpr const char* format = "BMP";

struct Colour {
  std::uint8_t blue, green, red;
  bool is_grey() const { return red == green && green == blue; }
};

// Little-endian fields of a file that may be cut anywhere.
class Fields {
 public:
  explicit Fields(const Source& source) : source_(source) {}

  std::uint8_t u8(std::uint64_t at) const {
    if (at >= source_.bytes.size()) source_.fail(format, "truncated");
    return byte_at(source_.bytes, static_cast<std::size_t>(at));
  }
  std::uint32_t u16(std::uint64_t at) const { return u8(at) | std::uint32_t{u8(at + 1)} << 8; }
  std::uint32_t u32(std::uint64_t at) const { return u16(at) | u16(at + 2) << 16; }
  std::int64_t i32(std::uint64_t at) const { return static_cast<std::int32_t>(u32(at)); }

 private:
  const Source& source_;
};

struct Header {
  std::uint64_t header_bytes;
  std::int64_t width;
  std::int64_t height;
  bool top_down;
  std::uint32_t bits;  // of a pixel: 8, 24 or 32
  bool alpha;
  std::uint64_t pixels_at;
};

constexpr std::uint64_t file_header_bytes = 14;

Header read_header(const Source& source, const Fields& fields) {
  constexpr std::uint32_t uncompressed = 0;
  constexpr std::uint32_t bit_fields = 3;
  constexpr std::uint64_t at = file_header_bytes;

  Header header = {};
  header.header_bytes = fields.u32(at);
  if (header.header_bytes < 40) source.fail(format, "a header of OS/2 or older is not read");
  header.pixels_at = fields.u32(10);
  header.width = fields.i32(at + 4);
  const std::int64_t height = fields.i32(at + 8);
  header.top_down = height < 0;
  header.height = header.top_down ? -height : height;
  header.bits = fields.u16(at + 14);
  if (header.bits != 8 && header.bits != 24 && header.bits != 32) {
    source.fail(format, "of " + std::to_string(header.bits) + " bits per pixel; 8, 24 and 32 are read");
  }

  const std::uint32_t compression = fields.u32(at + 16);
  if (compression == bit_fields && header.bits == 32) {
    const bool bgr =
        fields.u32(at + 40) == 0xff0000 && fields.u32(at + 44) == 0xff00 && fields.u32(at + 48) == 0xff;
    if (!bgr) source.fail(format, "an unusual order of its colours is not read");
    header.alpha = header.header_bytes >= 56 && fields.u32(at + 52) == 0xff000000;
  } else if (compression != uncompressed) {
    source.fail(format, "a compressed one is not read");
  }
  return header;
}

std::vector<Colour> read_palette(const Source& source, const Fields& fields, const Header& header) {
  const std::uint32_t declared = fields.u32(file_header_bytes + 32);
  const std::uint32_t count = declared == 0 ? 256 : declared;
  if (count > 256) source.fail(format, "its palette has more than 256 colours");
  std::vector<Colour> palette;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t at = file_header_bytes + header.header_bytes + 4 * std::uint64_t{i};
    palette.push_back({fields.u8(at), fields.u8(at + 1), fields.u8(at + 2)});
  }
  return palette;
}

}  // namespace

bool is_bmp(std::string_view bytes) { return bytes.substr(0, 2) == "BM"; }

Image decode_bmp(const Source& source) {
  const Fields fields(source);
  const Header header = read_header(source, fields);
  const std::vector<Colour> palette =
      header.bits == 8 ? read_palette(source, fields, header) : std::vector<Colour>();
  const bool grey = !palette.empty() &&
                    std::all_of(palette.begin(), palette.end(), [](const Colour& c) { return c.is_grey(); });

  source.check_size(format, header.width, header.height);
  const auto width = static_cast<std::uint64_t>(header.width);
  const auto height = static_cast<std::uint64_t>(header.height);
  const std::uint64_t pixel_bytes = header.bits / 8;
  const std::uint64_t row_bytes = (width * pixel_bytes + 3) / 4 * 4;  // rows are padded to 4 bytes
  const std::uint64_t size = source.bytes.size();
  if (header.pixels_at > size || (size - header.pixels_at) / row_bytes < height)
    source.fail(format, "truncated");

  Image image = make_image(header.height, header.width, grey ? 1 : 3);
  auto out = image.pixels.begin();
  for (std::uint64_t y = 0; y < height; ++y) {
    const std::uint64_t row = header.pixels_at + row_bytes * (header.top_down ? y : height - 1 - y);
    for (std::uint64_t at = row; at < row + width * pixel_bytes; at += pixel_bytes) {
      Colour colour = {};
      if (header.bits == 8) {
        const std::uint8_t index = fields.u8(at);
        if (index >= palette.size()) source.fail(format, "a pixel is outside its palette");
        colour = palette[index];
      } else {
        const std::uint8_t alpha = header.alpha ? fields.u8(at + 3) : 255;
        colour = {on_black(fields.u8(at), alpha), on_black(fields.u8(at + 1), alpha),
                  on_black(fields.u8(at + 2), alpha)};
      }
      *out++ = colour.red;
      if (!grey) {
        *out++ = colour.green;
        *out++ = colour.blue;
      }
    }
  }
  return image;
}

}  // namespace mcci::imageio
