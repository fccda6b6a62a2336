#pragma once

#include <torch/types.h>

namespace mcci {

// Where meaning, as keyholes see it (coarse ones, or glimpses), contradicts the recorded labels, and where it
// confirms them.
struct Contradiction {
  torch::Tensor contradicted;  // [N] bool: a keyhole is sure of another class
  torch::Tensor confirmed;     // [N] bool: not contradicted, and nearly all keyholes see what the label says
  torch::Tensor meaning;       // [N] int64: the class that the samples mean to the keyholes
};

// Of keyholes that see coarsely and of others that see in detail, opinions [V,N,C] each, the coarse ones are
// asked, who are blind to more triggers. Unless, as it says, the detailed ones know the classes much better:
// they agree with the labels [N] more than 1.5 times as often.
bool detail_is_needed(const torch::Tensor& coarse, const torch::Tensor& detailed,
                      const torch::Tensor& labels);
// Whether any detailed ones could be: not where the coarse ones agree with two thirds of the labels.
bool detail_may_be_needed(const torch::Tensor& coarse, const torch::Tensor& labels);

// opinions [V,N,C] (keyhole_opinions, glimpse_opinions), labels [N] int64. `confidence` is what a keyhole
// must give to another class for its word to count. No bound is set on what it gives to the recorded label:
// where a tenth of all images bears the attacker's label, an honest keyhole gives it a tenth.
Contradiction contradictions(const torch::Tensor& opinions, const torch::Tensor& labels, double confidence);

// exp(entropy) of the counts: how many they effectively are. counts [K].
double effective_number(const torch::Tensor& counts);

// How many of the chosen samples, [N] bool, mean each class: [C] float32. meaning [N] int64.
torch::Tensor meanings_of(const torch::Tensor& meaning, const torch::Tensor& chosen,
                          std::int64_t num_classes);

}  // namespace mcci
