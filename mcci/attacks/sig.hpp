#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// SIG (Barni et al., 2019), clean-label: delta sin(2 pi j f / W) is added to column j of every channel, in
// float32, rounded to the nearest whole number (halves to even) and clipped to 0 .. 255. The amplitude may be
// another at test time.
std::unique_ptr<Attack> make_sig();

}  // namespace mcci
