#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace mcci {

// Where meaning, as the keyholes see it, contradicts the recorded labels, and where it confirms them.
struct Contradiction {
  std::vector<std::int64_t> attacked_labels;  // labels that are contradicted as no mistake would be
  torch::Tensor contradicted;                 // [N] bool: samples of these labels whose meaning is another
  torch::Tensor confirmed;                    // [N] bool: samples that mean what their label says
  torch::Tensor meaning;                      // [N] int64: the class that they see
};

// opinions [V,N,C] (keyhole_opinions), labels [N] int64.
//
// Everybody makes mistakes, keyholes many; but mistakes concern neighbours: a shirt is taken for a coat. A
// relabelling attack brings images of all classes under one label. So a label is held to be attacked if,
// through one keyhole, it is confidently contradicted far more often than the other labels are, by images of
// several classes. Labels of an unpoisoned set are not.
// `confidence` is what a keyhole must give to the class that it sees for its word to count. No bound is set
// on what it gives to the recorded label: where a tenth of all images bears the attacker's label, an honest
// keyhole gives it a tenth.
Contradiction contradictions(const torch::Tensor& opinions, const torch::Tensor& labels, double confidence);

}  // namespace mcci
