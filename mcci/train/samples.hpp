#pragma once

#include <algorithm>
#include <cstdint>
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

// Positions of at most `count` of the chosen samples, drawn by the seed. chosen [N] bool -> [M] int64.
inline at::Tensor some_of(const at::Tensor& chosen, std::int64_t count, std::uint64_t seed) {
  const at::Tensor all = chosen.nonzero().squeeze(1);
  return all.index_select(0, epoch_order(all.numel(), seed, 0)).narrow(0, 0, std::min(count, all.numel()));
}

// Of a mask [n] bool, the share that is true.
inline double share_of(const at::Tensor& mask) { return mask.to(at::kDouble).mean().item<double>(); }

}  // namespace mcci
