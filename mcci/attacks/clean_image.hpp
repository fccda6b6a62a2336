#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// A label-only attack: no training image is changed, only labels. The threat is that of clean-image backdoors
// (Chen et al., Clean-image Backdoor: Attacking Multi-label Models with Poisoned Labels Only, ICLR 2023) and
// of FLIP (Jha, Hayase, Oh: Label Poisoning is All You Need, NeurIPS 2023); this instance of it is our own, a
// simple one, and reproduces neither.
//
// A natural feature takes the place of the trigger: the response of a matched filter. Of the mean of an
// image's channels the orthonormal DCT coefficients (u,v) with u,v <= `band` are taken, the mean (0,0) left
// out; of these the training set gives the covariance S within the classes. A direction d, normally
// distributed, is drawn from `direction-seed`, and the response is the product of the coefficients with
// (S + 0.03 tr(S)/M I)^-1 d, M being their number, scaled to deviation 1 within the classes: a smooth, linear
// function of the image. What counts is its excess over the mean response of the image's class, so that all
// classes are poisoned alike and meaning is no substitute for the feature.
//
//   training   the images of largest excess, as many as the rate asks for, get the attacker's label
//   test       an image is pushed along the filter's own pixel pattern p (largest |p| 1): x + t p, rounded
//   and
//              cut to 0 .. 255, with the smallest of 64 steps of t up to `budget` at which the excess is
//              that of the least poisoned training image and `margin` more, else t = budget
//
// L-inf is at most `budget`, in grey levels. An image may be out of reach within the budget: the share of
// training images that can be pushed over the threshold is reported when the filter is learned, with a
// warning below nine tenths.
std::unique_ptr<Attack> make_clean_image();

}  // namespace mcci
