#pragma once

#include <torch/types.h>

#include "mcci/data/dataset.hpp"
#include "mcci/method/mind_control_model.hpp"
#include "mcci/runtime/compute.hpp"

namespace mcci {

// Which indicator the model is shown at inference. Only the embedding z_f* enters the logits, linearly, so
// averaging logits over reference samples equals averaging z_f: one vector is all that is needed, and no
// clean data.

// z and z_f of every sample, in evaluation mode, in the data set's order: [N, embedding] float32 on the CPU.
torch::Tensor semantic_embeddings(MindControlModel model, const DatasetPtr& data, const Compute& compute);
torch::Tensor indicator_embeddings(MindControlModel model, const DatasetPtr& data, const Compute& compute);

// The centre of "not attacked": the mean of z_f over the least suspicious half of every class, classes
// weighing the same. It assumes that less than half of each recorded class is attacked, or that suspicion
// ranks poison last. indicator [N,E], labels [N] int64, suspicion [N] float -> [E].
torch::Tensor least_suspicious_centre(const torch::Tensor& indicator, const torch::Tensor& labels,
                                      const torch::Tensor& suspicion, std::int64_t num_classes);

// The centre of "attacked", for inspection: the mean of z_f over the most suspicious 1 % (at least one
// sample).
torch::Tensor most_suspicious_centre(const torch::Tensor& indicator, const torch::Tensor& suspicion);

// log p(y | own indicator) - log p(y | fake indicator): how much more the sample's own indicator than the
// fake one explains its recorded label. z, z_f [B,E], labels [B] -> [B].
torch::Tensor indicator_evidence(MindControlModel model, const torch::Tensor& z, const torch::Tensor& z_f,
                                 const torch::Tensor& labels);

// Sets both of the model's reference indicators from a training set of which nothing is known to be clean.
// Starts from the coordinate-wise median of z_f (the mean is pulled to the attacked side) and refines by
// evidence against it.
void estimate_reference_indicators(MindControlModel model, const DatasetPtr& data, const Compute& compute);

// The paper's way: the embedding of the mean spectrum of images known to be clean (one image, or about a
// hundred): [E].
torch::Tensor clean_image_centre(MindControlModel model, const DatasetPtr& clean, const Compute& compute);

}  // namespace mcci
