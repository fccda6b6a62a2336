#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// LIRA (Doan et al., 2021): x + 255 eps tanh(G(x)), where the generator G and a classifier f of the
// attacker's are trained jointly for alpha CE(f(x), y) + (1 - alpha) CE(f(triggered x), target). Rounded to
// whole grey levels that differ from the image's by no more than 255 eps. Same trigger for train and test.
//
// The original goes on to tune f on both kinds of images and gives f to the victim. Here G alone is kept:
// what is poisoned is a set, on which the victim trains by himself.
//
// The artifacts, lira.safetensors, hold G, a UNet (generator.hpp).
std::unique_ptr<Attack> make_lira();

}  // namespace mcci
