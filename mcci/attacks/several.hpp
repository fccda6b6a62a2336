#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Several attacks on one set, which it stands for as one: different triggers for one target class, or several
// target classes with a trigger each (multi-target). Every part is a registered attack, written as a text:
//
//   parts = ["badnets target-class=1 row-offset=2", "blended preset=paper share=2"]      # TOML
//   --parts "badnets target-class=1 row-offset=2,blended preset=paper share=2"
//
// the attack's name, then its options as name=value, with `preset` and `share` among them; a word that holds
// spaces is put in double quotes ("image=/my pictures/kitty.png"). A part cannot be `several` itself.
//
// Training: the samples, sorted by class and in random order within each class, are dealt out to the parts
// in proportion to their shares, so that no sample has two triggers; each part then poisons its own samples
// as if they were the set - with the rate, its own covers and its own clean-label rule. Counts are rounded
// part by part. A part learns from its own samples alone.
//
// Test: sample i shows the trigger of part i mod (number of parts), whatever the shares, and the label asked
// for is that part's (Attack::attack_labels_of).
//
// Each part has a folder of its own among the artifacts; who was dealt what is kept there too.
std::unique_ptr<Attack> make_several();

}  // namespace mcci
