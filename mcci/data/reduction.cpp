#include "mcci/data/reduction.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "mcci/core/vectorised.hpp"

namespace mcci {
namespace {

// Values that are treated alike, as columns: as many rows of a plane, or a pixel's channels and one value
// more that is not used; and how far apart columns begin.
template <std::int64_t Channels>
constexpr std::int64_t lanes = Channels == 1 ? 8 : 4;
template <std::int64_t Channels>
constexpr std::int64_t stride = Channels == 1 ? lanes<1> : Channels;

// sum = the sum of weights * rows, or sum += it, from left to right.
template <std::size_t Rows>
MCCI_VECTORISED void combine(const std::uint8_t* __restrict row, std::int64_t row_stride,
                             const float* __restrict weights, std::int64_t count, bool first,
                             float* __restrict sum) {
  for (std::int64_t i = 0; i < count; ++i) {
    float total = weights[0] * static_cast<float>(row[i]);
    if (!first) total = sum[i] + total;
    for (std::size_t k = 1; k < Rows; ++k) {
      total += weights[k] * static_cast<float>(row[static_cast<std::int64_t>(k) * row_stride + i]);
    }
    sum[i] = total;
  }
}

// Rows of a plane, of `width` values and one behind the other, become columns.
MCCI_VECTORISED void interleave(const float* __restrict rows, std::int64_t width, float* __restrict to) {
  for (std::int64_t x = 0; x < width; ++x) {
    for (std::int64_t k = 0; k < lanes<1>; ++k) to[x * lanes<1> + k] = rows[k * width + x];
  }
}

// Columns of `Lanes` values become rows of `width` values. Four by four: of itself g++ moves one value at a
// time.
template <std::int64_t Lanes>
MCCI_VECTORISED void separate(const float* __restrict columns, std::int64_t width, float* __restrict to) {
  using Four [[gnu::vector_size(16)]] = float;
  const std::int64_t whole = width - width % 4;
  for (std::int64_t half = 0; half < Lanes; half += 4) {
    for (std::int64_t x = 0; x < whole; x += 4) {
      std::array<Four, 4> of;
      for (std::size_t i = 0; i < 4; ++i) {
        std::memcpy(&of[i], columns + (x + static_cast<std::int64_t>(i)) * Lanes + half, sizeof(Four));
      }
      const Four a = __builtin_shufflevector(of[0], of[1], 0, 4, 1, 5),
                 b = __builtin_shufflevector(of[0], of[1], 2, 6, 3, 7),
                 c = __builtin_shufflevector(of[2], of[3], 0, 4, 1, 5),
                 d = __builtin_shufflevector(of[2], of[3], 2, 6, 3, 7);
      of = {__builtin_shufflevector(a, c, 0, 1, 4, 5), __builtin_shufflevector(a, c, 2, 3, 6, 7),
            __builtin_shufflevector(b, d, 0, 1, 4, 5), __builtin_shufflevector(b, d, 2, 3, 6, 7)};
      for (std::size_t k = 0; k < 4; ++k) {
        std::memcpy(to + (half + static_cast<std::int64_t>(k)) * width + x, &of[k], sizeof(Four));
      }
    }
    for (std::int64_t x = whole; x < width; ++x) {
      for (std::int64_t k = half; k < half + 4; ++k) to[k * width + x] = columns[x * Lanes + k];
    }
  }
}

// New columns of `Taps` weights each, from old ones; 0: of `taps`.
template <std::int64_t Channels, std::int64_t Taps>
MCCI_VECTORISED void combine_columns(const float* __restrict old, const std::int64_t* first,
                                     const float* weights, std::int64_t taps, std::int64_t width,
                                     float* __restrict to) {
  using Column [[gnu::vector_size(lanes<Channels> * sizeof(float))]] = float;
  const std::int64_t count = Taps > 0 ? Taps : taps;
  for (std::int64_t x = 0; x < width; ++x, weights += count) {
    const float* const begin = old + first[x] * stride<Channels>;
    Column sum{};
    for (std::int64_t i = 0; i < count; ++i) {
      Column loaded;
      std::memcpy(&loaded, begin + i * stride<Channels>, sizeof(loaded));
      sum += weights[i] * loaded;
    }
    std::memcpy(to + x * lanes<Channels>, &sum, sizeof(sum));
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
  std::int64_t taps = std::min(rows_.taps, height_ - first);
  while (taps > 1 && down[taps - 1] == 0) --taps;
  constexpr std::array combined{&combine<1>, &combine<2>, &combine<3>, &combine<4>};
  constexpr auto most = static_cast<std::int64_t>(combined.size());
  for (std::int64_t i = 0; i < taps; i += most) {
    const auto rows = static_cast<std::size_t>(std::min(most, taps - i));
    combined[rows - 1](from + (first + i) * row_stride, row_stride, down + i, values, i == 0, sum);
  }
}

template <std::int64_t Channels>
void Reduction::apply(const std::uint8_t* from, std::int64_t row_stride, float* to) const {
  constexpr std::int64_t rows_at_once = Channels == 1 ? lanes<Channels> : 1;
  const std::int64_t values = width_ * Channels;
  const auto height = static_cast<std::int64_t>(rows_.first.size());
  const auto width = static_cast<std::int64_t>(columns_.first.size());
  const auto beyond = static_cast<std::size_t>((width_ + columns_.taps) * stride<Channels> + lanes<Channels>);
  std::vector<float> sums(Channels == 1 ? static_cast<std::size_t>(values * rows_at_once) : beyond, 0.0F);
  std::vector<float> interleaved(Channels == 1 ? beyond : 0, 0.0F);
  std::vector<float> columns(static_cast<std::size_t>(width * lanes<Channels>));
  std::vector<float> made(columns.size());
  const auto combined = [&] {
    switch (columns_.taps) {
      case 2:
        return &combine_columns<Channels, 2>;
      case 3:
        return &combine_columns<Channels, 3>;
      case 4:
        return &combine_columns<Channels, 4>;
      case 5:
        return &combine_columns<Channels, 5>;
      default:
        return &combine_columns<Channels, 0>;
    }
  }();
  for (std::int64_t y = 0; y < height; y += rows_at_once) {
    const std::int64_t rows = std::min(rows_at_once, height - y);
    for (std::int64_t k = 0; k < rows; ++k) {
      combine_rows(from, row_stride, values, y + k, sums.data() + k * values);
    }
    if (Channels == 1) interleave(sums.data(), width_, interleaved.data());
    combined(Channels == 1 ? interleaved.data() : sums.data(), columns_.first.data(), columns_.weights.data(),
             columns_.taps, width, columns.data());
    separate<lanes<Channels>>(columns.data(), width, made.data());
    for (std::int64_t k = 0; k < (Channels == 1 ? rows : Channels); ++k) {
      std::copy_n(made.data() + k * width, width, to + (Channels == 1 ? y + k : k * height + y) * width);
    }
  }
}

template void Reduction::apply<1>(const std::uint8_t*, std::int64_t, float*) const;
template void Reduction::apply<3>(const std::uint8_t*, std::int64_t, float*) const;

MCCI_VECTORISED void ycc_to_rgb(float* planes, std::int64_t count) {
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

MCCI_VECTORISED void round_to_bytes(const float* __restrict values, std::int64_t count,
                                    std::uint8_t* __restrict to) {
  constexpr float large =
      12582912.0F;  // 1.5 * 2^23: a float as large has no fractions, so that a sum is rounded
  for (std::int64_t i = 0; i < count; ++i) {
    // Through 16 bits: of these every processor compares eight at once.
    const auto whole = static_cast<std::int16_t>(static_cast<std::int32_t>(values[i] + large - large));
    to[i] = static_cast<std::uint8_t>(std::min<std::int16_t>(std::max<std::int16_t>(whole, 0), 255));
  }
}

}  // namespace mcci
