#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/core/options.hpp"
#include "mcci/data/dataset.hpp"

namespace mcci {

struct Batch {
  at::Tensor images;   // [B,C,H,W] float32 in [0,1]
  at::Tensor labels;   // [B] int64
  at::Tensor indices;  // [B] int64: positions in the data set
};

// What is done to training images. The paper: horizontal flip only (its section on experiments).
struct AugmentOptions {
  bool flip = true;           // mirror half of the images
  std::int64_t crop_pad = 0;  // pixels of black border before a random crop back to the size; 0: no crop
  void declare(OptionSet& set);
  static AugmentOptions none();  // images as they are
};

struct LoaderOptions {
  std::int64_t batch_size = 128;
  std::int64_t workers = 1;  // threads that decode and augment ahead of the training step
  void declare(OptionSet& set);
};

// Which samples an epoch visits and in which order: [M] int64, a permutation of 0 .. n-1 that depends on
// (seed, epoch) alone.
at::Tensor epoch_order(std::int64_t n, std::uint64_t seed, std::int64_t epoch);
// The samples in their own order: [n] int64, 0 .. n-1.
at::Tensor natural_order(std::int64_t n);

// What the loader does to images [B,C,H,W], float32 or uint8, whose samples are `indices` ([B] int64); the
// result for a sample depends on (seed, epoch, its index) alone, so neither batch size, thread count nor a
// resume changes it. The input is not changed.
at::Tensor augment(const at::Tensor& images, const at::Tensor& indices, const AugmentOptions& options,
                   std::uint64_t seed, std::int64_t epoch);

// Batches of `data` in the given order, prepared ahead by worker threads; the same batches in the same order
// whatever the number of workers.
//
//   Loader loader(data, epoch_order(data.size(), seed, epoch), options, augmentation, seed, epoch);
//   while (auto batch = loader.next()) ...
class Loader {
 public:
  // `order` [M] int64; `first_batch` skips batches already done (resume). The last batch may be smaller;
  // with drop_single a final batch of one sample is left out (batch norm cannot train on one).
  // Errors: internal if the batch size or the number of workers is below 1, first_batch is beyond the end or
  // an index is none of the data set's.
  Loader(DatasetPtr data, at::Tensor order, const LoaderOptions& options, const AugmentOptions& augmentation,
         std::uint64_t seed, std::int64_t epoch, std::int64_t first_batch = 0, bool drop_single = false);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  std::int64_t batches()
      const noexcept;  // of the whole epoch: skipped ones included, a dropped single one not

  // Null at the end. Errors: those of Dataset::images, thrown here, on the caller's thread; they end the
  // loader: calling again throws the same.
  std::unique_ptr<Batch> next();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// All of `data` in its own order, not augmented: calls visit(const Batch&) for each.
template <class Visit>
void for_each_batch(const DatasetPtr& data, std::int64_t batch_size, Visit visit) {
  LoaderOptions options;
  options.batch_size = batch_size;
  Loader loader(data, natural_order(data->size()), options, AugmentOptions::none(), 0, 0);
  while (const std::unique_ptr<const Batch> batch = loader.next()) visit(*batch);
}

// [B,C,H,W] uint8 -> float32 in [0,1].
at::Tensor to_unit(const at::Tensor& images);

}  // namespace mcci
