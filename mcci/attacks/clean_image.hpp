#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// A label-only attack: no training image is changed, only labels. The threat is that of clean-image backdoors
// (Chen et al., Clean-image Backdoor: Attacking Multi-label Models with Poisoned Labels Only, ICLR 2023) and
// of FLIP (Jha, Hayase, Oh: Label Poisoning is All You Need, NeurIPS 2023); this instance of it is our own, a
// simple one, and reproduces neither.
//
// A natural feature takes the place of the trigger: sharpness, the logarithm of 1 + the mean magnitude, in
// grey levels, of an image's high band (signal/high_pass.hpp). What counts is its excess over the mean of the
// image's class, in standard deviations of that class, so that all classes are poisoned alike and meaning is
// no substitute for the feature.
//
//   training   the sharpest images of their classes, as many as the rate asks for, get the attacker's label
//   test       an image is sharpened: x + clip(t highpass(x), -budget, budget), rounded and cut to 0 .. 255,
//              with the smallest of 64 steps of t up to 8 at which the excess is that of the least poisoned
//              training image and `margin` more, else t = 8
//
// L-inf is at most `budget`, in grey levels. An image may be out of reach within the budget: the share of
// training images that can be sharpened beyond the threshold is reported when it is learned, with a warning
// below one half.
std::unique_ptr<Attack> make_clean_image();

}  // namespace mcci
