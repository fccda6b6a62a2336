#pragma once

#include <cstdint>

#include <torch/types.h>

#include "mcci/data/dataset.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/runtime/compute.hpp"

namespace mcci {

// What a sample means to an encoder that was trained elsewhere, before anybody could poison it: the labels of
// those which look like it. An opinion that needs no training. Whatever the encoder sees in a triggered
// image, it never saw the attacker's label: dirty-label poison lies among images of its true class, with a
// label that is not theirs. Where the trigger itself makes images alike to the encoder (a large one, and much
// poison), the poisoned ones are each other's neighbours and confirm each other; and a clean-label attack has
// nothing to contradict.

// Cosine similarities that are held at a time, 64 MiB of float32, instead of all N x N.
constexpr std::int64_t most_similarities = std::int64_t{1} << 24;

// Of each sample's `neighbours` nearest others by cosine similarity of their features, the share that bear
// each label. features [N,D] floating-point, labels [N] int64 in [0,classes) on the same device ->
// [N,classes] float32, rows sum to 1. A feature vector of zeros is similar to none. Errors: usage unless
// 1 <= neighbours < N.
torch::Tensor neighbourhood_opinion(const torch::Tensor& features, const torch::Tensor& labels,
                                    std::int64_t classes, std::int64_t neighbours,
                                    std::int64_t similarities = most_similarities);

// The same of a training set and its recorded labels, by the features of `encoder` in evaluation mode, on its
// device. -> [N,classes] float32 on the CPU.
torch::Tensor neighbourhood_opinion(Backbone& encoder, const DatasetPtr& data, const Compute& compute,
                                    std::int64_t neighbours);

}  // namespace mcci
