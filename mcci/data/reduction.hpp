#pragma once

#include <cstdint>
#include <vector>

namespace mcci {

// Resizing, bilinear and antialiased: a new pixel is the mean of the old ones under a triangle about its
// centre, whose half is one new pixel wide, or one old one if those are larger; rounded to the nearest
// integer, halves to even. Rows are combined first, which runs along memory, then columns.
class Reduction {
 public:
  struct Size {
    std::int64_t height = 0;
    std::int64_t width = 0;
  };
  Reduction(const Size& from, const Size& to);

  // From one image whose pixels have `Channels` (1 or 3) values side by side and whose rows begin
  // `row_stride` bytes apart, to `Channels` planes [Channels, to.height, to.width]. Safe to call from several
  // threads.
  template <std::int64_t Channels>
  void apply(const std::uint8_t* from, std::int64_t row_stride, std::uint8_t* to) const;

 private:
  // Of each new pixel along an axis: the first old one that makes it, and `taps` weights of it and those
  // after it, which sum to 1; at the end they may reach beyond the image, where they are 0.
  struct Axis {
    std::vector<std::int64_t> first;
    std::vector<float> weights;
    std::int64_t taps = 0;
  };
  static Axis axis(std::int64_t from, std::int64_t to);

  Size from_;
  Axis rows_;
  Axis columns_;
};

extern template void Reduction::apply<1>(const std::uint8_t*, std::int64_t, std::uint8_t*) const;
extern template void Reduction::apply<3>(const std::uint8_t*, std::int64_t, std::uint8_t*) const;

}  // namespace mcci
