#pragma once

#include <memory>

#include "mcci/train/defense.hpp"

namespace mcci {

// No defense: cross entropy on the set as it is. What an attack does to it is what a defense is measured
// against.
std::unique_ptr<Defense> make_plain();

}  // namespace mcci
