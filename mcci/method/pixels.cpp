#include "mcci/method/pixels.hpp"

#include <vector>

#include <ATen/ATen.h>

#include "mcci/data/compose.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/signal/pooling.hpp"

namespace mcci {
namespace {

constexpr std::int64_t batch_images = 500;

}  // namespace

at::Tensor pixels_of(const DatasetPtr& data, const at::Tensor& positions, std::int64_t most_side) {
  std::vector<at::Tensor> parts;
  for_each_batch(subset(data, positions), batch_images,
                 [&](const Batch& batch) { parts.push_back(pooled(batch.images, most_side).flatten(1)); });
  return at::cat(parts);
}

at::Tensor means_of(const at::Tensor& rows, const at::Tensor& group, std::int64_t groups) {
  const at::Tensor counts = group.bincount({}, groups).clamp_min(1).to(rows.scalar_type());
  return at::zeros({groups, rows.size(1)}, rows.options())
      .index_add_(0, group, rows)
      .div_(counts.unsqueeze(1));
}

}  // namespace mcci
