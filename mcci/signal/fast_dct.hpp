#pragma once

#include <cstdint>

namespace mcci {

// Whether fast_dct2 takes planes with sides of n: what is left of n after halving it while it is even is
// small.
bool has_fast_dct(std::int64_t n);

// The two-dimensional orthonormal DCT-II of `planes` planes of height x width, one behind the other, by Lee's
// recursion: O(n log n) where matrix products are O(n^2), and nearer to the exact result. `out` may be `in`.
// As many threads as OpenMP's current count; the result does not depend on it. Requires has_fast_dct of both
// sides.
void fast_dct2(const float* in, float* out, std::int64_t planes, std::int64_t height, std::int64_t width);

}  // namespace mcci
