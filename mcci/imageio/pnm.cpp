#include <cctype>

#include "mcci/imageio/formats.hpp"

namespace mcci::imageio {
namespace {

constexpr const char* format = "PPM or PGM";

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The header: numbers separated by white space and by comments, from '#' to the end of the line.
class Header {
 public:
  explicit Header(const Source& source) : source_(source), rest_(source.bytes.substr(2)) {}

  std::int64_t number() {
    skip_space();
    std::int64_t value = 0;
    std::size_t digits = 0;
    for (; digits < rest_.size() && is_digit(rest_[digits]); ++digits) {
      if (digits == 10) source_.fail(format, "a number in its header is too large");
      value = value * 10 + (rest_[digits] - '0');
    }
    if (digits == 0) source_.fail(format, "a number is missing in its header");
    rest_.remove_prefix(digits);
    return value;
  }

  // What follows the one white space that ends the header.
  std::string_view samples() const {
    if (rest_.empty() || !is_space(rest_[0])) source_.fail(format, "its header does not end");
    return rest_.substr(1);
  }

 private:
  void skip_space() {
    bool comment = false;
    while (!rest_.empty() && (comment || is_space(rest_[0]) || rest_[0] == '#')) {
      if (rest_[0] == '#') comment = true;
      if (rest_[0] == '\n' || rest_[0] == '\r') comment = false;
      rest_.remove_prefix(1);
    }
  }

  const Source& source_;
  std::string_view rest_;
};

}  // namespace

bool is_pnm(std::string_view bytes) {
  const std::string_view magic = bytes.substr(0, 2);
  return (magic == "P5" || magic == "P6") && bytes.size() > 2 && (is_space(bytes[2]) || bytes[2] == '#');
}

Image decode_pnm(const Source& source) {
  Header header(source);
  const std::int64_t width = header.number();
  const std::int64_t height = header.number();
  const std::int64_t max_value = header.number();
  if (max_value < 1 || max_value > 65535) source.fail(format, "its largest value is not in 1 .. 65535");
  const std::string_view samples = header.samples();

  source.check_size(format, width, height);
  const std::int64_t channels = source.bytes[1] == '6' ? 3 : 1;
  const std::size_t sample_bytes = max_value > 255 ? 2 : 1;
  const std::size_t pixel_bytes = static_cast<std::size_t>(channels) * sample_bytes;
  if (samples.size() / pixel_bytes < static_cast<std::size_t>(width * height))
    source.fail(format, "truncated");

  Image image = make_image(height, width, channels);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    const std::int64_t value =
        sample_bytes == 1 ? byte_at(samples, i) : byte_at(samples, 2 * i) * 256 + byte_at(samples, 2 * i + 1);
    if (value > max_value) source.fail(format, "a sample is above its largest value");
    image.pixels[i] = static_cast<std::uint8_t>((value * 255 + max_value / 2) / max_value);
  }
  return image;
}

}  // namespace mcci::imageio
