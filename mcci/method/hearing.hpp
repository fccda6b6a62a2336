#pragma once

#include <cstdint>
#include <functional>

#include <torch/types.h>

#include "mcci/data/dataset.hpp"
#include "mcci/method/contradiction.hpp"
#include "mcci/method/trigger.hpp"

namespace mcci {

constexpr double sure = 2;  // evidence, in nats, from which on the AIN is sure of a mark

// What is known of the training set before its labels are judged. On the CPU.
struct Hearing {
  DatasetPtr data;
  Contradiction contradiction;
  torch::Tensor divided;   // [C] bool: labels within which an attack has set a group apart
  torch::Tensor known;     // [C] bool: labels of which poison is known without a witness
  torch::Tensor evidence;  // [N] float32: log odds of a mark, of the label that the sample has; of samples of
                           // which no witness was asked, -infinity
  std::uint64_t seed = 0;
  bool intervene = true;  // test triggers on other images; otherwise each that can be estimated is believed,
                          // as those of labels with known poison are
};

// Log odds of a mark of each label, [B,C], in images [B,channels,H,W] in [0,1]; all on the CPU.
using Witness = std::function<torch::Tensor(const torch::Tensor& images)>;

struct Findings {
  torch::Tensor attacked;  // [C] bool: labels that are attacked
  torch::Tensor exposed;   // [C] bool: of these, those of which a trigger is known that works on other images
  torch::Tensor guilty;    // [N] bool: what contradicts an attacked label because of the attack
};

// What attackers do, as far as it was found out.
struct Deed {
  torch::Tensor transition;  // [C,C] float32: T[c,y], how often guilty images that mean c bear the label y
  Trigger triggers;          // [K,channels,H,W] each: of the exposed labels; undefined: none
};

// Which labels are attacked, and by what: of each, the grounds (marks.hpp), among them the intervention with
// its estimated trigger, and the verdict. `share` as in verdicts(). What contradicts its label must have been
// asked about, and some of what does not.
Findings find_attack(const Hearing& hearing, const Witness& witness, double share);

// What is guilty, and whatever else bears the mark of an exposed label, all of whose samples must have been
// asked about: [N] bool. A trigger that works wherever it is put speaks for itself, also on images that mean
// the label.
torch::Tensor marked_by(const Hearing& hearing, const Findings& found);

// What samples mean, [N] int64: what `contradiction.meaning` says, or for the guilty ones of a label what
// `other` says, if that is clearly better. A trigger is added to what images mean: take away what images of
// that meaning, without a trigger, look like on average, and what is left varies the least where the meaning
// is right.
torch::Tensor better_meaning(const Hearing& hearing, const Findings& found, const torch::Tensor& other);

// What was done to the guilty images, which mean what `contradiction.meaning` says now.
Deed deed_of(const Hearing& hearing, const Findings& found);

}  // namespace mcci
