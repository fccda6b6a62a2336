#pragma once

#include <memory>

#include "mcci/method/mcci.hpp"

namespace mcci {

// MCCI for short schedules and any attack that relabels (docs/method.md, "Robust training"): keyholes see
// what images mean; where that contradicts the labels as no mistake would, the AIN learns from the
// contradicted samples to tell attacked images by their spectrum; and the SFRN is trained conditioned on what
// the AIN says.
//
//   P(y | x, s) = (1 - a(s)) P_SFRN(y | x) + a(s) sum_c P_SFRN(c | x) T[c, y]
//
// a(s) is the AIN's probability of an attack, T[c, y] that of the label y which an attacker gives to an image
// of class c: one column for one target class, a cyclic shift for all-to-all, several columns for several
// attackers. The fake non-attack indicator is a = 0: the SFRN alone, a plain backbone.
// `ain` must outlive the defense.
std::unique_ptr<Defense> make_robust_mcci(const AinOptions& ain);

}  // namespace mcci
