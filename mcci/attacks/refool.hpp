#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Refool (Liu, Ma, Bailey, Lu: Reflection Backdoor, ECCV 2020): the image seen through a pane that reflects
// another picture. In linear light (gamma 2.2) the image counts alpha and the reflection 1 - alpha, in one of
// two ways, drawn for each sample as BackdoorBox does:
//
//   ghost         (with the rate 0.49) two copies of the picture, 3 to 8 pixels apart in each direction, the
//                 second with the share 0.15 .. 0.5 or 0.5 .. 0.85
//   out of focus  the picture blurred with sigma 1 .. 5 pixels, lowered where the sum would exceed white,
//                 and fading from the centre as exp(-(x^2 + y^2) / 4), x and y in -3 .. 3 over the image
//
// Pixels are those of an image whose longer side has `reference-size` (560) pixels, to which BackdoorBox
// enlarges every image before it adds the reflection; here the lengths are scaled to the image instead.
// Results are rounded to the nearest whole number, not cut.
//
// Reflections come from a folder of the user's, or are drawn: smooth noise of four scales with bright and
// dark panes over it. The authors keep the labels and choose the reflections by their success on a validation
// set (preset `paper`, without that choice); BackdoorBench and BackdoorBox change the labels.
std::unique_ptr<Attack> make_refool();

}  // namespace mcci
