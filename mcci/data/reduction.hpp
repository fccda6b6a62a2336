#pragma once

#include <cstdint>
#include <vector>

namespace mcci {

// Resizing, bilinear and antialiased: a new pixel is the mean of the old ones under a triangle about its
// centre, whose half is one new pixel wide, or one old one if those are larger. Rows are combined first,
// which runs along memory, then columns.
class Reduction {
 public:
  // Along one side: of `from` pixels, those between `begin` and `end` become `to` pixels. The ends may lie
  // within a pixel.
  struct Side {
    std::int64_t from = 0;
    double begin = 0;
    double end = 0;
    std::int64_t to = 0;
  };
  Reduction(const Side& height, const Side& width);

  // From one image whose pixels have `Channels` (1 or 3) values side by side and whose rows begin
  // `row_stride` bytes apart, to `Channels` planes [Channels, height.to, width.to], not rounded. Safe to call
  // from several threads.
  template <std::int64_t Channels>
  void apply(const std::uint8_t* from, std::int64_t row_stride, float* to) const;

 private:
  // Of each new pixel along a side: the first old one that makes it, and `taps` weights of it and those after
  // it, which sum to 1; at the end they may reach beyond the image, where they are 0.
  struct Axis {
    std::vector<std::int64_t> first;
    std::vector<float> weights;
    std::int64_t taps = 0;
  };
  static Axis axis(const Side& side);
  void combine_rows(const std::uint8_t* from, std::int64_t row_stride, std::int64_t values, std::int64_t y,
                    float* sum) const;

  std::int64_t height_;
  std::int64_t width_;
  Axis rows_;
  Axis columns_;
};

extern template void Reduction::apply<1>(const std::uint8_t*, std::int64_t, float*) const;
extern template void Reduction::apply<3>(const std::uint8_t*, std::int64_t, float*) const;

// Three planes of `count` values each, Y, Cb and Cr as JFIF has them, become red, green and blue.
void ycc_to_rgb(float* planes, std::int64_t count);

// To the nearest integer, halves to even, within 0 .. 255. Requires values between -2^15 and 2^15.
void round_to_bytes(const float* values, std::int64_t count, std::uint8_t* to);

}  // namespace mcci
