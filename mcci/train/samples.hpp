#pragma once

#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <c10/core/GradMode.h>

#include "mcci/data/loader.hpp"
#include "mcci/runtime/compute.hpp"

namespace mcci {

// evaluate(images [B,C,H,W] on the device) of every sample, not augmented and without gradients, in the data
// set's order and put together on the CPU. Networks must be in evaluation mode.
template <class Evaluate>
at::Tensor of_every_sample(const DatasetPtr& data, const Compute& compute, Evaluate evaluate) {
  constexpr std::int64_t batch_images = 500;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> parts;
  for_each_batch(data, batch_images,
                 [&](const Batch& batch) { parts.push_back(evaluate(place(batch.images, compute)).cpu()); });
  return at::cat(parts);
}

}  // namespace mcci
