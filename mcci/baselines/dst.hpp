#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/train/defense.hpp"

namespace mcci {

// D-ST (Chen, Wu, Wang, NeurIPS 2022; docs/defenses/dst.md): poison is more sensitive to transformations of
// the image than clean samples are. The least sensitive samples are trusted, the most sensitive held to be
// poisoned; features are learned contrastively with the labels of the former, and a head from both. Assumes
// no clean data.
std::unique_ptr<Defense> make_dst();

// The mean cosine similarity of the centres of the classes that are in the batch, counting each with itself
// as 0: what the fine-tuning before the test of sensitivity minimises. features [B, D], labels [B] -> scalar.
at::Tensor centre_similarity(const at::Tensor& features, const at::Tensor& labels, std::int64_t num_classes);

}  // namespace mcci
