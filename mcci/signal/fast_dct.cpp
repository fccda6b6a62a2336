#include "mcci/signal/fast_dct.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

namespace mcci {
namespace {

constexpr double pi = 3.14159265358979323846;
constexpr std::int64_t largest_odd_part = 15;  // above, matrix products are as fast

// The same value of several rows or columns, which are transformed side by side. Sixteen bytes are what every
// x86-64 and ARM64 processor has instructions for: wider ones only help where the compiler may assume them.
using Lanes = float __attribute__((vector_size(16)));
constexpr std::int64_t lanes = sizeof(Lanes) / sizeof(float);

// One-dimensional transforms of size n.
class Transform {
 public:
  explicit Transform(std::int64_t n) : n_(n) {
    for (; n % 2 == 0; n /= 2) {
      std::vector<float>& level = secants_.emplace_back();
      for (std::int64_t i = 0; i < n / 2; ++i)
        level.push_back(static_cast<float>(0.5 / cosine(2 * i + 1, n)));
    }
    for (std::int64_t k = 0; k < n; ++k) {
      for (std::int64_t i = 0; i < n; ++i) matrix_.push_back(static_cast<float>(cosine((2 * i + 1) * k, n)));
    }
    const double scale = std::sqrt(2.0 / static_cast<double>(n_));
    scale_ = static_cast<float>(scale);
    scale_of_first_ = static_cast<float>(scale * std::sqrt(0.5));
  }

  std::int64_t size() const { return n_; }

  // x: n values for each lane, in place; scratch: as many.
  void operator()(Lanes* x, Lanes* scratch) const {
    transform(x, scratch, n_, 0);
    x[0] *= scale_of_first_;
    for (std::int64_t k = 1; k < n_; ++k) x[k] *= scale_;
  }

 private:
  static double cosine(std::int64_t i, std::int64_t n) {
    return std::cos(pi * static_cast<double>(i) / static_cast<double>(2 * n));
  }

  // X_k = sum_i x_i cos(pi (2i + 1) k / 2n). Even coefficients are those of x_i + x_(n-1-i), of half the
  // size; so are, after division by 2 cos(pi (2i + 1) / 2n), sums of neighbouring odd ones of the difference
  // (Lee 1984).
  void transform(Lanes* x, Lanes* scratch, std::int64_t n, std::size_t level) const {
    if (n % 2 != 0) {
      multiply(x, scratch, n);
      return;
    }
    const std::int64_t half = n / 2;
    const std::vector<float>& secants = secants_[level];
    for (std::int64_t i = 0; i < half; ++i) {
      const Lanes& mirrored = x[n - 1 - i];
      scratch[i] = x[i] + mirrored;
      scratch[half + i] = (x[i] - mirrored) * secants[static_cast<std::size_t>(i)];
    }
    transform(scratch, x, half, level + 1);
    transform(scratch + half, x + half, half, level + 1);
    for (std::int64_t k = 0; k < half; ++k) x[2 * k] = scratch[k];
    for (std::int64_t k = 0; k + 1 < half; ++k) x[2 * k + 1] = scratch[half + k] + scratch[half + k + 1];
    x[n - 1] = scratch[n - 1];
  }

  void multiply(Lanes* x, Lanes* scratch, std::int64_t n) const {
    if (n == 1) return;
    for (std::int64_t k = 0; k < n; ++k) {
      const float* const row = matrix_.data() + k * n;
      Lanes sum = x[0] * row[0];
      for (std::int64_t i = 1; i < n; ++i) sum += x[i] * row[i];
      scratch[k] = sum;
    }
    std::copy(scratch, scratch + n, x);
  }

  std::int64_t n_;
  std::vector<std::vector<float>> secants_;  // of n, n / 2, ...
  std::vector<float> matrix_;                // of the odd part
  float scale_ = 1;
  float scale_of_first_ = 1;
};

// The columns of a plane, as many as there are lanes at a time.
void transform_columns(const Transform& transform, const float* in, float* out, std::int64_t width, Lanes* x,
                       Lanes* scratch) {
  for (std::int64_t first = 0; first < width; first += lanes) {
    const auto used = static_cast<std::size_t>(std::min(lanes, width - first)) * sizeof(float);
    for (std::int64_t y = 0; y < transform.size(); ++y) std::memcpy(x + y, in + y * width + first, used);
    transform(x, scratch);
    for (std::int64_t y = 0; y < transform.size(); ++y) std::memcpy(out + y * width + first, x + y, used);
  }
}

// The rows of a plane, in place: they are turned into columns on the way in and back on the way out.
void transform_rows(const Transform& transform, float* plane, std::int64_t height, Lanes* x, Lanes* scratch) {
  const std::int64_t width = transform.size();
  auto* const turned = reinterpret_cast<float*>(x);
  for (std::int64_t first = 0; first < height; first += lanes) {
    const std::int64_t used = std::min(lanes, height - first);
    float* const rows = plane + first * width;
    for (std::int64_t i = 0; i < width; ++i) {
      for (std::int64_t y = 0; y < used; ++y) turned[i * lanes + y] = rows[y * width + i];
    }
    transform(x, scratch);
    for (std::int64_t y = 0; y < used; ++y) {
      for (std::int64_t i = 0; i < width; ++i) rows[y * width + i] = turned[i * lanes + y];
    }
  }
}

}  // namespace

bool has_fast_dct(std::int64_t n) {
  while (n > 0 && n % 2 == 0) n /= 2;
  return n > 0 && n <= largest_odd_part;
}

void fast_dct2(const float* in, float* out, std::int64_t planes, std::int64_t height, std::int64_t width) {
  const Transform of_columns(height);
  const Transform of_rows(width);
#pragma omp parallel if (planes > 1)
  {
    std::vector<Lanes> buffer(static_cast<std::size_t>(2 * std::max(height, width)));
    Lanes* const x = buffer.data();
    Lanes* const scratch = x + std::max(height, width);
#pragma omp for
    for (std::int64_t p = 0; p < planes; ++p) {
      const std::int64_t plane = p * height * width;
      transform_columns(of_columns, in + plane, out + plane, width, x, scratch);
      transform_rows(of_rows, out + plane, height, x, scratch);
    }
  }
}

}  // namespace mcci
