#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace mcci {

// Where meaning, as the keyholes see it, contradicts the recorded labels, and where it confirms them.
struct Contradiction {
  torch::Tensor contradicted;  // [N] bool: a keyhole is sure of another class
  torch::Tensor confirmed;     // [N] bool: not contradicted, and nearly all keyholes see what the label says
  torch::Tensor meaning;       // [N] int64: the class that the samples mean to the keyholes
};

// opinions [V,N,C] (keyhole_opinions), labels [N] int64. `confidence` is what a keyhole must give to another
// class for its word to count. No bound is set on what it gives to the recorded label: where a tenth of all
// images bears the attacker's label, an honest keyhole gives it a tenth.
Contradiction contradictions(const torch::Tensor& opinions, const torch::Tensor& labels, double confidence);

// Contradicted samples that an attack explains.
struct Marks {
  std::vector<std::int64_t> attacked_labels;  // in order
  torch::Tensor marked;  // [N] bool: contradicted samples of these labels that bear the mark
};

// An attack acts on the label and on the image, a mistake on neither: so what contradicts its label because
// it was attacked also looks different, and alike, while honest mistakes have no mark in common. evidence
// [N]: what somebody who has learned to tell contradicted from confirmed samples, but not from this one, says
// of it (Witnesses). A contradicted sample bears the mark if the evidence is above 2 nats; a label is
// attacked if `share` of what contradicts it does, and at least ten samples. This needs neither that one
// label alone is attacked, nor that few are, nor how they are relabelled.
//
// A mark may be too fine for the witnesses (a few grey levels less). Then numbers speak: mistakes concern
// neighbours, a shirt is taken for a coat, while an attack on one label brings images of all classes under
// it. So a label is also attacked if six times as many samples contradict it as the median label, and mean at
// least three different classes (effective number); then all of them count as marked.
Marks marks(const Contradiction& contradiction, const torch::Tensor& labels, std::int64_t num_classes,
            const torch::Tensor& evidence, double share);

}  // namespace mcci
