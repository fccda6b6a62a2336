#include "mcci/method/measurements.hpp"

#include <array>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/data/compose.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/signal/dct.hpp"
#include "mcci/signal/pooling.hpp"

namespace mcci {
namespace {

constexpr std::int64_t batch_images = 500;
constexpr std::int64_t most_side = 64;  // pixels

// How many pixels of each channel have each of 256 levels: images [n,C,H,W] in [0,1] -> [n, 256 C]. The root
// of the share, whose spread depends little on the share itself.
torch::Tensor levels_of(const torch::Tensor& images) {
  const std::int64_t count = images.size(0), channels = images.size(1);
  const torch::Tensor channel = torch::arange(channels).view({1, channels, 1});
  const torch::Tensor level = (images.flatten(2) * 255).round().to(torch::kLong) + 256 * channel;
  const torch::Tensor counted =
      torch::zeros({count, 256 * channels})
          .scatter_add_(1, level.flatten(1), torch::ones({1}).expand({count, level[0].numel()}));
  return (counted / static_cast<double>(level.size(2))).sqrt();
}

}  // namespace

Measurements measurements(const DatasetPtr& data, const torch::Tensor& positions) {
  std::array<std::vector<torch::Tensor>, views> parts;
  for_each_batch(subset(data, positions), batch_images, [&](const Batch& batch) {
    torch::Tensor images = batch.images;
    parts[levels].push_back(levels_of(images));
    images = pooled(images, most_side);
    parts[spectra].push_back(dct2(images).flatten(1));
    parts[pixels].push_back(images.flatten(1));
  });
  return {torch::cat(parts[spectra]), torch::cat(parts[pixels]), torch::cat(parts[levels])};
}

Measurements rows_of(const Measurements& all, const torch::Tensor& chosen) {
  Measurements some;
  for (std::size_t view = 0; view < views; ++view) some[view] = all[view].index_select(0, chosen);
  return some;
}

}  // namespace mcci
