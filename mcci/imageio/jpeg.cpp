#include <memory>

#include <turbojpeg.h>

#include "mcci/core/error.hpp"
#include "mcci/imageio/formats.hpp"

namespace mcci::imageio {
namespace {

constexpr const char* format = "JPEG";

class Decoder {
 public:
  explicit Decoder(const Source& source) : source_(source), handle_(tjInitDecompress(), tjDestroy) {
    if (!handle_) throw Error(ErrorKind::internal, "the JPEG decoder cannot be started");
    check(tjDecompressHeader3(handle_.get(), data(), size(), &width_, &height_, &subsampling_, &colorspace_));
  }

  bool is_grey() const { return colorspace_ == TJCS_GRAY; }
  bool is_cmyk() const { return colorspace_ == TJCS_CMYK || colorspace_ == TJCS_YCCK; }

  Image decode(TJPF pixel_format) {
    source_.check_size(format, width_, height_);
    const tjscalingfactor scale = largest_reduction();
    const int height = TJSCALED(height_, scale), width = TJSCALED(width_, scale);
    Image image = make_image(height, width, tjPixelSize[pixel_format]);
    // A truncated scan only warns; the number of scans is limited since a tiny file may declare thousands.
    constexpr int flags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
    check(tjDecompress2(handle_.get(), data(), size(), image.pixels.data(), width, 0, height, pixel_format,
                        flags));
    return image;
  }

 private:
  const unsigned char* data() const { return reinterpret_cast<const unsigned char*>(source_.bytes.data()); }
  unsigned long size() const { return source_.bytes.size(); }

  // Of those that libjpeg-turbo has fast code for.
  tjscalingfactor largest_reduction() const {
    tjscalingfactor scale{1, 1};
    if (source_.limits.enough_height <= 0 || source_.limits.enough_width <= 0) return scale;
    for (const int denominator : {2, 4, 8}) {
      const tjscalingfactor smaller{1, denominator};
      if (TJSCALED(height_, smaller) < source_.limits.enough_height) break;
      if (TJSCALED(width_, smaller) < source_.limits.enough_width) break;
      scale = smaller;
    }
    return scale;
  }

  void check(int status) const {
    if (status != 0) source_.fail(format, tjGetErrorStr2(handle_.get()));
  }

  const Source& source_;
  std::unique_ptr<void, int (*)(tjhandle)> handle_;
  int width_ = 0;
  int height_ = 0;
  int subsampling_ = 0;
  int colorspace_ = 0;
};

// Adobe's programs, which write nearly all CMYK files and mark them so, store the inks inverted.
bool has_adobe_marker(std::string_view bytes) {
  constexpr std::string_view marker("\xff\xee\0\16Adobe", 9);  // APP14, 14 bytes long
  return bytes.find(marker) != std::string_view::npos;
}

Image cmyk_to_rgb(const Image& cmyk, bool inverted) {
  Image rgb{cmyk.height, cmyk.width, 3, {}};
  rgb.pixels.reserve(cmyk.pixels.size() / 4 * 3);
  const int flip = inverted ? 0 : 255;
  for (auto inks = cmyk.pixels.begin(); inks != cmyk.pixels.end(); inks += 4) {
    for (int i = 0; i < 3; ++i) {
      rgb.pixels.push_back(
          on_black(static_cast<std::uint8_t>(inks[i] ^ flip), static_cast<std::uint8_t>(inks[3] ^ flip)));
    }
  }
  return rgb;
}

}  // namespace

bool is_jpeg(std::string_view bytes) { return bytes.substr(0, 3) == "\xff\xd8\xff"; }

Image decode_jpeg(const Source& source) {
  Decoder decoder(source);
  if (decoder.is_grey()) return decoder.decode(TJPF_GRAY);
  if (decoder.is_cmyk()) return cmyk_to_rgb(decoder.decode(TJPF_CMYK), has_adobe_marker(source.bytes));
  return decoder.decode(TJPF_RGB);
}

}  // namespace mcci::imageio
