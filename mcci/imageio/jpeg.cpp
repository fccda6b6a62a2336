#include <array>
#include <memory>
#include <utility>

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
    source_.check_size(format, width_, height_);
  }

  bool is_grey() const { return colorspace_ == TJCS_GRAY; }
  bool is_cmyk() const { return colorspace_ == TJCS_CMYK || colorspace_ == TJCS_YCCK; }
  bool is_best_as_planes() const {
    return colorspace_ == TJCS_YCbCr && height_ > source_.limits.target_height &&
           width_ > source_.limits.target_width && reduced_size() == std::make_pair(height_, width_);
  }

  Image decode(TJPF pixel_format) {
    const auto [height, width] = reduced_size();
    Image image = make_image(height, width, tjPixelSize[pixel_format]);
    check(tjDecompress2(handle_.get(), data(), size(), image.pixels.data(), width, 0, height, pixel_format,
                        flags));
    return image;
  }

  JpegPlanes decode_planes() {
    JpegPlanes result{height_, width_, tjMCUHeight[subsampling_] / 8, tjMCUWidth[subsampling_] / 8, {}};
    std::array<unsigned char*, 3> pixels{};
    for (int i = 0; i < 3; ++i) {
      Image& plane = result.planes[static_cast<std::size_t>(i)];
      plane = make_image(tjPlaneHeight(i, height_, subsampling_), tjPlaneWidth(i, width_, subsampling_), 1);
      pixels[static_cast<std::size_t>(i)] = plane.pixels.data();
    }
    check(tjDecompressToYUVPlanes(handle_.get(), data(), size(), pixels.data(), width_, nullptr, height_,
                                  flags));
    return result;
  }

 private:
  // A truncated scan only warns; the number of scans is limited since a tiny file may declare thousands.
  static constexpr int flags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;

  const unsigned char* data() const { return reinterpret_cast<const unsigned char*>(source_.bytes.data()); }
  unsigned long size() const { return source_.bytes.size(); }

  // Height and width after the largest reduction that is allowed, of those that libjpeg-turbo has fast code
  // for.
  std::pair<int, int> reduced_size() const {
    std::pair<int, int> size{height_, width_};
    const DecodeLimits& limits = source_.limits;
    if (limits.target_height <= 0 || limits.target_width <= 0) return size;
    for (const int denominator : {2, 4, 8}) {
      const tjscalingfactor scale{1, denominator};
      const int height = TJSCALED(height_, scale), width = TJSCALED(width_, scale);
      if (height < 2 * limits.target_height || width < 2 * limits.target_width) break;
      size = {height, width};
    }
    return size;
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

std::optional<JpegPlanes> decode_jpeg_planes(const Source& source) {
  Decoder decoder(source);
  if (!decoder.is_best_as_planes()) return std::nullopt;
  return decoder.decode_planes();
}

}  // namespace mcci::imageio
