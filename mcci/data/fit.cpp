#include "mcci/data/fit.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "mcci/core/error.hpp"

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

using Side = Reduction::Side;

at::Tensor resize(const at::Tensor& images, std::int64_t height, std::int64_t width) {
  const std::int64_t count = images.size(0), channels = images.size(1), h = images.size(2),
                     w = images.size(3);
  if (h == height && w == width) return images;
  at::Tensor out = at::empty({count, channels, height, width},
                             images.options().memory_format(at::MemoryFormat::Contiguous));
  std::uint8_t* to = out.data_ptr<std::uint8_t>();
  const Reduction reduction(Side{h, 0, static_cast<double>(h), height},
                            Side{w, 0, static_cast<double>(w), width});
  // As decoders leave them: a pixel's channels side by side.
  const bool interleaved = channels == 3 && images.stride(1) == 1 && images.stride(3) == 3;
  const at::Tensor in = interleaved ? images : images.contiguous();
  const std::uint8_t* const from = in.data_ptr<std::uint8_t>();
  const std::int64_t plane = height * width;
  const at::Tensor room = at::empty({channels, plane}, at::kFloat);
  float* const reduced = room.data_ptr<float>();
  for (std::int64_t b = 0; b < count; ++b, to += channels * plane) {
    const std::uint8_t* const image = from + b * in.stride(0);
    if (interleaved) {
      reduction.apply<3>(image, in.stride(2), reduced);
    } else {
      for (std::int64_t c = 0; c < channels; ++c) {
        reduction.apply<1>(image + c * in.stride(1), in.stride(2), reduced + c * plane);
      }
    }
    round_to_bytes(reduced, channels * plane, to);
  }
  return out;
}

std::int64_t scaled(std::int64_t side, double scale, std::int64_t most) {
  return std::clamp<std::int64_t>(std::llround(static_cast<double>(side) * scale), 1, most);
}

double ratio(std::int64_t a, std::int64_t b) { return static_cast<double>(a) / static_cast<double>(b); }

// What of an image is kept, in its middle, and the size that this gets, in the middle of the new one. It is
// cut before it is resized: the reverse would let a very long image grow without bound.
struct Placement {
  std::int64_t kept_height;
  std::int64_t kept_width;
  std::int64_t height;
  std::int64_t width;
};

Placement place(std::int64_t h, std::int64_t w, const ImageShape& shape, const std::string& fit) {
  const std::int64_t height = shape.height, width = shape.width;
  if (fit == "pad") {
    const double scale = std::min({1.0, ratio(height, h), ratio(width, w)});
    return {h, w, scaled(h, scale, height), scaled(w, scale, width)};
  }
  if (fit == "crop") {
    return {scaled(w, ratio(height, width), h), scaled(h, ratio(width, height), w), height, width};
  }
  return {h, w, height, width};
}

at::Tensor centred_on_black(const at::Tensor& images, const ImageShape& shape) {
  const std::int64_t height = images.size(2), width = images.size(3);
  if (height == shape.height && width == shape.width) return images;
  at::Tensor out = at::zeros({images.size(0), images.size(1), shape.height, shape.width}, images.options());
  out.narrow(2, (shape.height - height) / 2, height)
      .narrow(3, (shape.width - width) / 2, width)
      .copy_(images);
  return out;
}

// `kept` of the `whole` pixels along a side of an image, of which a plane has `from`, one of its pixels being
// `step` of the image's.
Side side_of_plane(std::int64_t from, std::int64_t step, std::int64_t whole, std::int64_t kept,
                   std::int64_t to) {
  const std::int64_t begin = (whole - kept) / 2;
  return {from, ratio(begin, step), ratio(begin + kept, step), to};
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
  const std::int64_t h = images.size(2), w = images.size(3);
  if (h == shape.height && w == shape.width) return coloured;
  const Placement place_of = place(h, w, shape, fit);
  const at::Tensor kept = coloured.narrow(2, (h - place_of.kept_height) / 2, place_of.kept_height)
                              .narrow(3, (w - place_of.kept_width) / 2, place_of.kept_width);
  return centred_on_black(resize(kept, place_of.height, place_of.width), shape).contiguous();
}

Fitter::Fitter(const ImageShape& shape, std::string fit) : shape_(shape), fit_(std::move(fit)) {}

void Fitter::operator()(const at::Tensor& image, at::Tensor out) const {
  out.copy_(fit_images(image, shape_, fit_));
}

const Fitter::Plan& Fitter::plan_for(const JpegPlanes& jpeg) {
  const std::array<std::int64_t, 4> size{jpeg.height, jpeg.width, jpeg.rows, jpeg.columns};
  if (plan_ && plan_->size == size) return *plan_;
  const Placement to = place(jpeg.height, jpeg.width, shape_, fit_);
  const auto reduction_of = [&](const Image& plane, std::int64_t rows, std::int64_t columns) {
    return Reduction(side_of_plane(plane.height, rows, jpeg.height, to.kept_height, to.height),
                     side_of_plane(plane.width, columns, jpeg.width, to.kept_width, to.width));
  };
  return plan_.emplace(Plan{size, to.height, to.width, reduction_of(jpeg.planes[0], 1, 1),
                            reduction_of(jpeg.planes[1], jpeg.rows, jpeg.columns)});
}

void Fitter::operator()(const JpegPlanes& jpeg, at::Tensor out) {
  const Plan& plan = plan_for(jpeg);
  const std::int64_t count = plan.height * plan.width;
  const at::Tensor room = at::empty({3, count}, at::kFloat);
  float* const reduced = room.data_ptr<float>();
  for (std::size_t i = 0; i < 3; ++i) {
    const Image& plane = jpeg.planes[i];
    (i == 0 ? plan.brightness : plan.colour)
        .apply<1>(plane.pixels.data(), plane.width, reduced + static_cast<std::int64_t>(i) * count);
  }
  ycc_to_rgb(reduced, count);
  const bool fills = plan.height == shape_.height && plan.width == shape_.width;
  const at::Tensor image = fills ? out : at::empty({1, 3, plan.height, plan.width}, at::kByte);
  round_to_bytes(reduced, 3 * count, image.data_ptr<std::uint8_t>());
  if (!fills) out.copy_(centred_on_black(image, shape_));
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
