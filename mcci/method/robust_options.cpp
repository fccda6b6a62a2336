#include "mcci/method/robust_options.hpp"

#include <algorithm>

namespace mcci {

bool RobustOptions::has(const std::string& part) const {
  return std::find(leave_out.begin(), leave_out.end(), part) == leave_out.end();
}

void RobustOptions::declare(OptionSet& set) {
  set.add("keyhole-epochs", keyhole_epochs, "epochs of the keyholes", {1, 1000});
  set.add("keyhole-images", keyhole_images, "images in each of them; 0: all", {0, 1000000000});
  set.add("keyhole-confidence", keyhole_confidence,
          "of a keyhole in the class that it sees, for its word to count", {0.1, 1.0});
  set.add("glimpse-epochs", glimpse_epochs, "epochs of the network that sees glimpses", {1, 1000});
  set.add("glimpse-images", glimpse_images, "images in each of them; 0: all", {0, 1000000000});
  set.add("indicator-epochs", indicator_epochs,
          "epochs in which the AIN learns to tell attacked images, once from what contradicts its label and "
          "once from what of it bears a mark",
          {1, 1000});
  set.add("marked-share", marked_share,
          "of what contradicts a label, how much must bear the mark of an attack to call it attacked",
          {0.0, 1.0});
  set.add("prior", prior, "share of attacked samples among those of an attacked label, before looking",
          {0.001, 0.999});
  set.add("recovery-confidence", recovery_confidence,
          "of the SFRN in another class, from which an attacked image is given that label", {0.1, 1.0});
  set.add("transplants", transplants,
          "share of the images not held to be attacked onto which a trigger is put in training, where one "
          "is known",
          {0.0, 1.0});
  set.add(
      "leave-out", leave_out,
      "parts that are left out, to see what each is worth: what contradicts labels; groups within labels; "
      "the test of triggers on other images; the AIN's word on samples; the SFRN's; arguing against labels",
      {"keyholes", "division", "intervention", "indicator", "posterior", "negative-evidence"});
}

}  // namespace mcci
