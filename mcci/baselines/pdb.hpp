#pragma once

#include <memory>

#include "mcci/train/defense.hpp"

namespace mcci {

// PDB, Proactive Defensive Backdoor (Wei et al., NeurIPS 2024; docs/defenses/pdb.md): a backdoor of one's
// own, with a trigger that outshines others and a reversible target y -> y + 1, is trained into the model; at
// inference every image is stamped and the answer turned back. Assumes clean images with labels. The deployed
// model stamps first, so that it cannot be folded into a plain backbone.
std::unique_ptr<Defense> make_pdb();

}  // namespace mcci
