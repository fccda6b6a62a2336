#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// A trigger against defenses that look at spectra, of this project's own: one perturbation d of the whole
// image, of at most eps grey levels, learned in a game. Two detectors D learn to tell x + d from x, one by
// the unscaled DCT, as the paper's indicator is, one by both bands in pixels, as a witness of the robust
// training sees them; a classifier S of the victim's kind learns the poisoned task; d wants S to see what D
// does not:
//
//   each D    minimises  the cross entropy of "clean" for x and "triggered" for x + d
//   S and d   minimise   alpha CE(S(x), y) + (1 - alpha) CE(S(x + d), the attacker's label)
//   d alone   minimises  evasion x the mean over D of the cross entropy of "clean" for x + d
//
// in simultaneous steps. d is eps tanh(p) in training and rounded to whole grey levels afterwards; sums are
// cut to 0 .. 255. Same trigger for train and test.
std::unique_ptr<Attack> make_spectrum_evasive();

}  // namespace mcci
