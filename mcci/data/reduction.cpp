#include "mcci/data/reduction.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace mcci {
namespace {

// sum = weight * row, or sum += weight * row.
void combine(float* __restrict sum, const std::uint8_t* __restrict row, float weight, std::int64_t count,
             bool first) {
  if (first) {
    for (std::int64_t i = 0; i < count; ++i) sum[i] = weight * static_cast<float>(row[i]);
  } else {
    for (std::int64_t i = 0; i < count; ++i) sum[i] += weight * static_cast<float>(row[i]);
  }
}

// The values of a pixel, and one that is not used. Four at a time are what every processor adds at once.
constexpr std::int64_t lanes = 4;
using Lanes = float __attribute__((vector_size(lanes * sizeof(float))));

void add(Lanes& sum, float weight, const float* values) {
  Lanes loaded;
  std::memcpy(&loaded, values, sizeof(loaded));
  sum += weight * loaded;
}

// Halves to even. A float as large as this one has no fractions, so that the sum is rounded.
std::uint8_t rounded(float value) {
  constexpr float large = 12582912.0F;  // 1.5 * 2^23
  return static_cast<std::uint8_t>(std::min(value + large - large, 255.0F));
}

}  // namespace

Reduction::Reduction(const Size& from, const Size& to)
    : from_(from), rows_(axis(from.height, to.height)), columns_(axis(from.width, to.width)) {}

Reduction::Axis Reduction::axis(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double reach = std::max(1.0, scale);
  Axis axis;
  axis.taps = static_cast<std::int64_t>(std::ceil(2 * reach)) + 1;
  for (std::int64_t at = 0; at < to; ++at) {
    const double centre = (static_cast<double>(at) + 0.5) * scale;
    axis.first.push_back(
        std::max<std::int64_t>(0, static_cast<std::int64_t>(std::floor(centre - reach + 0.5))));
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t i = axis.first.back(); i < axis.first.back() + axis.taps; ++i) {
      const double distance = std::abs(static_cast<double>(i) + 0.5 - centre);
      weights.push_back(i < from ? std::max(0.0, 1 - distance / reach) : 0.0);
      sum += weights.back();
    }
    for (const double weight : weights) axis.weights.push_back(static_cast<float>(weight / sum));
  }
  return axis;
}

template <std::int64_t Channels>
void Reduction::apply(const std::uint8_t* from, std::int64_t row_stride, std::uint8_t* to) const {
  // New pixels that are made at a time: one alone would wait for each of its sums.
  constexpr std::int64_t together = 4;
  const std::int64_t values = from_.width * Channels, taps = columns_.taps;
  const auto height = static_cast<std::int64_t>(rows_.first.size());
  const auto width = static_cast<std::int64_t>(columns_.first.size());
  std::vector<float> sums(static_cast<std::size_t>(values + taps * Channels + lanes), 0.0F);
  for (std::int64_t y = 0; y < height; ++y) {
    const std::int64_t first = rows_.first[static_cast<std::size_t>(y)];
    const float* const down = rows_.weights.data() + y * rows_.taps;
    for (std::int64_t i = 0; i < rows_.taps && first + i < from_.height; ++i) {
      if (i == 0 || down[i] > 0)
        combine(sums.data(), from + (first + i) * row_stride, down[i], values, i == 0);
    }
    for (std::int64_t x = 0; x < width; x += together) {
      std::array<Lanes, together> pixels{};
      std::array<const float*, together> old{};
      std::array<const float*, together> along{};
      for (std::size_t k = 0; k < together; ++k) {
        const std::int64_t column = std::min(x + static_cast<std::int64_t>(k), width - 1);
        old[k] = sums.data() + columns_.first[static_cast<std::size_t>(column)] * Channels;
        along[k] = columns_.weights.data() + column * taps;
      }
      for (std::int64_t i = 0; i < taps; ++i) {
        add(pixels[0], along[0][i], old[0] + i * Channels);
        add(pixels[1], along[1][i], old[1] + i * Channels);
        add(pixels[2], along[2][i], old[2] + i * Channels);
        add(pixels[3], along[3][i], old[3] + i * Channels);
      }
      for (std::int64_t k = 0; k < std::min(together, width - x); ++k) {
        for (std::int64_t c = 0; c < Channels; ++c) {
          to[(c * height + y) * width + x + k] = rounded(pixels[static_cast<std::size_t>(k)][c]);
        }
      }
    }
  }
}

template void Reduction::apply<1>(const std::uint8_t*, std::int64_t, std::uint8_t*) const;
template void Reduction::apply<3>(const std::uint8_t*, std::int64_t, std::uint8_t*) const;

}  // namespace mcci
