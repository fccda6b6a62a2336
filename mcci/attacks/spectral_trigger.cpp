#include "mcci/attacks/spectral_trigger.hpp"

#include <algorithm>

#include <ATen/ATen.h>

#include "mcci/data/fit.hpp"
#include "mcci/signal/dct.hpp"

namespace mcci {

namespace {

// [C,1,1]: what adding 1 to both chroma channels adds to red, green and blue.
at::Tensor color_of_chroma(ColorSpace space, std::int64_t channels) {
  if (channels == 1) return at::ones({1, 1, 1});
  const at::Tensor color = space == ColorSpace::ycbcr ? at::tensor({1.403F, -0.714F - 0.344F, 1.773F})
                                                      : at::tensor({1.14F, -0.396F - 0.581F, 2.029F});
  return color.view({3, 1, 1});
}

}  // namespace

void SpectralTrigger::declare(OptionSet& set) {
  set.add("magnitude", magnitude, "added to a coefficient of the orthonormal DCT of values in 0 .. 255",
          {-65536, 65536});
  set.add("mid-frequency", mid_frequency, "row and column of the first coefficient", {0, 4095});
  set.add("high-frequency", high_frequency, "row and column of the second coefficient", {0, 4095});
}

at::Tensor SpectralTrigger::pattern(const ImageShape& shape, std::int64_t window_height,
                                    std::int64_t window_width) const {
  at::Tensor spectrum = at::zeros({window_height, window_width});
  for (const std::int64_t frequency : {mid_frequency, high_frequency}) {
    spectrum[std::min(frequency, window_height - 1)][std::min(frequency, window_width - 1)] += magnitude;
  }
  const std::int64_t rows = shape.height / window_height;
  const std::int64_t cols = shape.width / window_width;
  at::Tensor plane = at::zeros({shape.height, shape.width});
  plane.narrow(0, 0, rows * window_height)
      .narrow(1, 0, cols * window_width)
      .copy_(idct2(spectrum).repeat({rows, cols}));
  return color_of_chroma(space, shape.channels) * plane;
}

at::Tensor SpectralTrigger::add_to(const at::Tensor& images, std::int64_t window_height,
                                   std::int64_t window_width) const {
  const at::Tensor sum = images.to(at::kFloat) + pattern(shape_of(images), window_height, window_width);
  return sum.round().clamp(0, 255).to(at::kByte);
}

}  // namespace mcci
