#include "mcci/data/fit.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "mcci/core/error.hpp"
#include "mcci/data/reduction.hpp"

namespace mcci {
namespace {

at::Tensor with_channels(const at::Tensor& images, std::int64_t channels) {
  if (images.size(1) == channels) return images;
  if (channels == 3) return images.expand({-1, 3, -1, -1}).contiguous();
  const auto plane = [&](std::int64_t c) { return images.narrow(1, c, 1).to(at::kFloat); };
  return plane(0)
      .mul_(0.299)
      .add_(plane(1), 0.587)
      .add_(plane(2), 0.114)
      .round_()
      .clamp_(0, 255)
      .to(at::kByte);
}

at::Tensor resize(const at::Tensor& images, std::int64_t height, std::int64_t width) {
  const std::int64_t count = images.size(0), channels = images.size(1), h = images.size(2),
                     w = images.size(3);
  if (h == height && w == width) return images;
  at::Tensor out = at::empty({count, channels, height, width},
                             images.options().memory_format(at::MemoryFormat::Contiguous));
  std::uint8_t* to = out.data_ptr<std::uint8_t>();
  const Reduction reduction({h, w}, {height, width});
  // As decoders leave them: a pixel's channels side by side.
  const bool interleaved = channels == 3 && images.stride(1) == 1 && images.stride(3) == 3;
  const at::Tensor in = interleaved ? images : images.contiguous();
  const std::uint8_t* const from = in.data_ptr<std::uint8_t>();
  for (std::int64_t b = 0; b < count; ++b) {
    if (interleaved) {
      reduction.apply<3>(from + b * in.stride(0), in.stride(2), to);
      to += 3 * height * width;
      continue;
    }
    for (std::int64_t c = 0; c < channels; ++c, to += height * width) {
      reduction.apply<1>(from + b * in.stride(0) + c * in.stride(1), in.stride(2), to);
    }
  }
  return out;
}

std::int64_t scaled(std::int64_t side, double scale, std::int64_t most) {
  return std::clamp<std::int64_t>(std::llround(static_cast<double>(side) * scale), 1, most);
}

double ratio(std::int64_t a, std::int64_t b) { return static_cast<double>(a) / static_cast<double>(b); }

at::Tensor pad(const at::Tensor& images, std::int64_t height, std::int64_t width) {
  const double scale = std::min({1.0, ratio(height, images.size(2)), ratio(width, images.size(3))});
  const at::Tensor inner =
      resize(images, scaled(images.size(2), scale, height), scaled(images.size(3), scale, width));
  at::Tensor out = at::zeros({images.size(0), images.size(1), height, width}, images.options());
  out.narrow(2, (height - inner.size(2)) / 2, inner.size(2))
      .narrow(3, (width - inner.size(3)) / 2, inner.size(3))
      .copy_(inner);
  return out;
}

// Cuts before it resizes: the reverse would let a very long image grow without bound.
at::Tensor crop(const at::Tensor& images, std::int64_t height, std::int64_t width) {
  const std::int64_t h = images.size(2), w = images.size(3);
  const std::int64_t cut_h = scaled(w, ratio(height, width), h);
  const std::int64_t cut_w = scaled(h, ratio(width, height), w);
  return resize(images.narrow(2, (h - cut_h) / 2, cut_h).narrow(3, (w - cut_w) / 2, cut_w), height, width)
      .contiguous();
}

}  // namespace

const std::vector<std::string>& fit_names() {
  static const std::vector<std::string> names = {"resize", "pad", "crop"};
  return names;
}

void check(const DatasetOptions& options) {
  const std::vector<std::string>& fits = fit_names();
  if (std::find(fits.begin(), fits.end(), options.fit) == fits.end()) {
    throw Error(ErrorKind::usage, "there is no fit '" + options.fit + "'", "fit",
                "use " + candidates(options.fit, fits));
  }
  if (options.channels != 0 && options.channels != 1 && options.channels != 3) {
    throw Error(ErrorKind::usage, std::to_string(options.channels) + " channels are not possible", "channels",
                "use 1 (grey), 3 (RGB) or 0 (as the source has it)");
  }
  if (options.image_size < 0 || options.image_size > max_side) {
    throw Error(ErrorKind::usage, std::to_string(options.image_size) + " is out of range", "image-size",
                "use 1 .. " + std::to_string(max_side) + " or 0 (as the source has it)");
  }
  if (!(options.memory_limit_gib >= 0)) {
    throw Error(ErrorKind::usage, "a negative limit is not possible", "memory-limit-gib");
  }
}

ImageShape fitted_shape(const ImageShape& source, const DatasetOptions& options) {
  ImageShape shape = source;
  if (options.channels > 0) shape.channels = options.channels;
  if (options.image_size > 0) shape.height = shape.width = options.image_size;
  return shape;
}

at::Tensor fit_images(const at::Tensor& images, const ImageShape& shape, const std::string& fit) {
  const at::Tensor coloured = with_channels(images, shape.channels);
  if (coloured.size(2) == shape.height && coloured.size(3) == shape.width) return coloured;
  if (fit == "pad") return pad(coloured, shape.height, shape.width);
  if (fit == "crop") return crop(coloured, shape.height, shape.width);
  return resize(coloured, shape.height, shape.width);
}

bool fits_in_memory(std::int64_t count, const ImageShape& shape, const DatasetOptions& options) {
  const double gib = static_cast<double>(std::int64_t{1} << 30);
  return static_cast<double>(count) * static_cast<double>(shape.channels) *
             static_cast<double>(shape.height) * static_cast<double>(shape.width) <=
         options.memory_limit_gib * gib;
}

std::string to_text(const ImageShape& shape) {
  return std::to_string(shape.channels) + "x" + std::to_string(shape.height) + "x" +
         std::to_string(shape.width);
}

ImageShape shape_of(const at::Tensor& images) { return {images.size(1), images.size(2), images.size(3)}; }

}  // namespace mcci
