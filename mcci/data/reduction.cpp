#include "mcci/data/reduction.hpp"

#include <algorithm>
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

// Values that are treated alike: four at a time are what every processor adds at once.
constexpr std::int64_t lanes = 4;
using Lanes = float __attribute__((vector_size(lanes * sizeof(float))));

void interleave(const float* __restrict rows, std::int64_t width, float* __restrict to) {
  for (std::int64_t x = 0; x < width; ++x) {
    for (std::int64_t k = 0; k < lanes; ++k) to[x * lanes + k] = rows[k * width + x];
  }
}

// New pixels of `Taps` weights each, from old ones `Stride` values apart.
template <std::int64_t Stride, std::int64_t Taps>
void combine_columns(const float* __restrict old, const std::int64_t* first, const float* weights,
                     std::int64_t taps, std::int64_t width, float* __restrict to) {
  const std::int64_t count = Taps > 0 ? Taps : taps;
  for (std::int64_t x = 0; x < width; ++x, weights += count) {
    const float* const begin = old + first[x] * Stride;
    Lanes sum{};
    for (std::int64_t i = 0; i < count; ++i) {
      Lanes loaded;
      std::memcpy(&loaded, begin + i * Stride, sizeof(loaded));
      sum += weights[i] * loaded;
    }
    std::memcpy(to + x * lanes, &sum, sizeof(sum));
  }
}

}  // namespace

Reduction::Reduction(const Side& height, const Side& width)
    : height_(height.from), width_(width.from), rows_(axis(height)), columns_(axis(width)) {}

Reduction::Axis Reduction::axis(const Side& side) {
  const auto low = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::floor(side.begin)));
  const std::int64_t high = std::min(side.from, static_cast<std::int64_t>(std::ceil(side.end)));
  const double scale = (side.end - side.begin) / static_cast<double>(side.to);
  const double reach = std::max(1.0, scale);
  Axis axis;
  axis.taps = static_cast<std::int64_t>(std::ceil(2 * reach));
  axis.first.resize(static_cast<std::size_t>(side.to));
  axis.weights.resize(static_cast<std::size_t>(side.to * axis.taps), 0.0F);
  std::vector<double> weights(static_cast<std::size_t>(axis.taps));
  for (std::int64_t at = 0; at < side.to; ++at) {
    const double centre = side.begin + (static_cast<double>(at) + 0.5) * scale;
    const std::int64_t first =
        std::clamp(static_cast<std::int64_t>(std::floor(centre - reach + 0.5)), low, high - 1);
    axis.first[static_cast<std::size_t>(at)] = first;
    const std::int64_t count = std::min(axis.taps, high - first);
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const double distance = std::abs(static_cast<double>(first + i) + 0.5 - centre);
      sum += weights[static_cast<std::size_t>(i)] = std::max(0.0, 1 - distance / reach);
    }
    for (std::int64_t i = 0; i < count; ++i) {
      axis.weights[static_cast<std::size_t>(at * axis.taps + i)] =
          static_cast<float>(weights[static_cast<std::size_t>(i)] / sum);
    }
  }
  return axis;
}

void Reduction::combine_rows(const std::uint8_t* from, std::int64_t row_stride, std::int64_t values,
                             std::int64_t y, float* sum) const {
  const std::int64_t first = rows_.first[static_cast<std::size_t>(y)];
  const float* const down = rows_.weights.data() + y * rows_.taps;
  for (std::int64_t i = 0; i < rows_.taps && first + i < height_; ++i) {
    if (i == 0 || down[i] > 0) combine(sum, from + (first + i) * row_stride, down[i], values, i == 0);
  }
}

template <std::int64_t Channels>
void Reduction::apply(const std::uint8_t* from, std::int64_t row_stride, float* to) const {
  // The lanes are a pixel's channels, and one that is not used; or, where there is but one, as many rows.
  constexpr std::int64_t rows_at_once = Channels == 1 ? lanes : 1;
  constexpr std::int64_t stride = Channels == 1 ? lanes : Channels;
  const std::int64_t values = width_ * Channels;
  const auto height = static_cast<std::int64_t>(rows_.first.size());
  const auto width = static_cast<std::int64_t>(columns_.first.size());
  const auto beyond = static_cast<std::size_t>((width_ + columns_.taps) * stride + lanes);
  std::vector<float> sums(Channels == 1 ? static_cast<std::size_t>(values * lanes) : beyond, 0.0F);
  std::vector<float> interleaved(Channels == 1 ? beyond : 0, 0.0F);
  std::vector<float> made(static_cast<std::size_t>(width * lanes));
  const auto combined = [&] {
    switch (columns_.taps) {
      case 2:
        return &combine_columns<stride, 2>;
      case 3:
        return &combine_columns<stride, 3>;
      case 4:
        return &combine_columns<stride, 4>;
      case 5:
        return &combine_columns<stride, 5>;
      default:
        return &combine_columns<stride, 0>;
    }
  }();
  for (std::int64_t y = 0; y < height; y += rows_at_once) {
    const std::int64_t rows = std::min(rows_at_once, height - y);
    for (std::int64_t k = 0; k < rows; ++k) {
      combine_rows(from, row_stride, values, y + k, sums.data() + k * values);
    }
    if (Channels == 1) interleave(sums.data(), width_, interleaved.data());
    combined(Channels == 1 ? interleaved.data() : sums.data(), columns_.first.data(), columns_.weights.data(),
             columns_.taps, width, made.data());
    for (std::int64_t k = 0; k < (Channels == 1 ? rows : Channels); ++k) {
      float* const row = to + (Channels == 1 ? y + k : k * height + y) * width;
      for (std::int64_t x = 0; x < width; ++x) row[x] = made[static_cast<std::size_t>(x * lanes + k)];
    }
  }
}

template void Reduction::apply<1>(const std::uint8_t*, std::int64_t, float*) const;
template void Reduction::apply<3>(const std::uint8_t*, std::int64_t, float*) const;

void ycc_to_rgb(float* planes, std::int64_t count) {
  float* const first = planes;
  float* const second = planes + count;
  float* const third = planes + 2 * count;
  for (std::int64_t i = 0; i < count; ++i) {
    const float y = first[i], cb = second[i] - 128, cr = third[i] - 128;
    first[i] = y + 1.402F * cr;
    second[i] = y - 0.344136F * cb - 0.714136F * cr;
    third[i] = y + 1.772F * cb;
  }
}

void round_to_bytes(const float* __restrict values, std::int64_t count, std::uint8_t* __restrict to) {
  constexpr float large =
      12582912.0F;  // 1.5 * 2^23: a float as large has no fractions, so that a sum is rounded
  for (std::int64_t i = 0; i < count; ++i) {
    // Through 16 bits: of these every processor compares eight at once.
    const auto whole = static_cast<std::int16_t>(static_cast<std::int32_t>(values[i] + large - large));
    to[i] = static_cast<std::uint8_t>(std::min<std::int16_t>(std::max<std::int16_t>(whole, 0), 255));
  }
}

}  // namespace mcci
