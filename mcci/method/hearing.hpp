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
  torch::Tensor evidence;  // [N] float32: log odds of a mark, of the label that the sample has
  std::uint64_t seed = 0;
  bool intervene = true;  // test triggers on other images; otherwise each that can be estimated is believed,
                          // as those of labels with known poison are
};

// Log odds of a mark of each label, [B,C], in images [B,channels,H,W] in [0,1]; all on the CPU.
using Witness = std::function<torch::Tensor(const torch::Tensor& images)>;

struct Findings {
  torch::Tensor attacked;    // [C] bool: labels that are attacked
  torch::Tensor transition;  // [C,C] float32: T[c,y], how often marked images that mean c bear the label y
  torch::Tensor marked;      // [N] bool: what of the attacked labels bears the mark of it
  Trigger triggers;          // [K,channels,H,W] each: those that work when put onto other images
};

// Which labels are attacked, and by what: of each, the grounds (marks.hpp), among them the intervention with
// its estimated trigger, and the verdict. `share` as in verdicts().
Findings find_attack(const Hearing& hearing, const Witness& witness, double share);

}  // namespace mcci
