#include "mcci/data/loader.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"
#include "mcci/core/vectorised.hpp"
#include "mcci/data/source.hpp"
#include "mcci/runtime/workers.hpp"

namespace mcci {
namespace {

// What augmentation does to one image: output(y, x) = input(y + dy, x' + dx), x' = x or mirrored, black
// outside.
struct Change {
  bool mirror = false;
  std::int64_t dy = 0;
  std::int64_t dx = 0;
};

Change draw(const AugmentOptions& options, std::uint64_t seed, std::int64_t epoch, std::int64_t index) {
  Rng rng(
      derive_seed(seed, "augment", {static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(index)}));
  Change change;
  change.mirror = rng.chance(0.5) && options.flip;
  if (options.crop_pad > 0) {
    change.dy = rng.below(2 * options.crop_pad + 1) - options.crop_pad;
    change.dx = rng.below(2 * options.crop_pad + 1) - options.crop_pad;
  }
  return change;
}

template <class Value>
MCCI_VECTORISED void apply(const Change& change, const Value* in, Value* out, std::int64_t height,
                           std::int64_t width) {
  const std::int64_t low = std::min(width, std::max<std::int64_t>(0, -change.dx));
  const std::int64_t high = std::max(low, std::min(width, width - change.dx));
  for (std::int64_t y = 0; y < height; ++y, out += width) {
    const std::int64_t from = y + change.dy;
    if (from < 0 || from >= height) {
      std::fill_n(out, width, Value{0});
      continue;
    }
    const Value* const row = in + from * width + change.dx;
    if (change.mirror) {
      std::fill(out, out + width - high, Value{0});
      std::reverse_copy(row + low, row + high, out + width - high);
      std::fill(out + width - low, out + width, Value{0});
    } else {
      std::fill(out, out + low, Value{0});
      std::copy(row + low, row + high, out + low);
      std::fill(out + high, out + width, Value{0});
    }
  }
}

template <class Value>
at::Tensor augment_values(const at::Tensor& images, const at::Tensor& indices, const AugmentOptions& options,
                          std::uint64_t seed, std::int64_t epoch) {
  const std::int64_t channels = images.size(1), height = images.size(2), width = images.size(3);
  at::Tensor result = at::empty(images.sizes(), images.options());
  const Value* in = images.data_ptr<Value>();
  Value* out = result.data_ptr<Value>();
  const std::int64_t* const index = indices.data_ptr<std::int64_t>();
  for (std::int64_t b = 0; b < images.size(0); ++b) {
    const Change change = draw(options, seed, epoch, index[b]);
    for (std::int64_t c = 0; c < channels; ++c, in += height * width, out += height * width) {
      apply(change, in, out, height, width);
    }
  }
  return result;
}

// Exact, and thrice as fast as a division: the first product has no more than 16 bits, so that all is rounded
// once, in the sum.
MCCI_VECTORISED void divide_by_255(const std::uint8_t* __restrict from, std::int64_t count,
                                   float* __restrict to) {
  constexpr double most = 257.0 / 65536;
  constexpr auto rest = static_cast<float>(1.0 / 255 - most);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(from[i]);
    to[i] = value * static_cast<float>(most) + value * rest;
  }
}

}  // namespace

void AugmentOptions::declare(OptionSet& set) {
  set.add("flip", flip, "mirror half of the training images (paper: yes)");
  set.add("crop-pad", crop_pad,
          "pixels of black border before a random crop back to the size; 0: no crop (paper: 0)", {0, 64});
}

AugmentOptions AugmentOptions::none() {
  AugmentOptions options;
  options.flip = false;
  options.crop_pad = 0;
  return options;
}

void LoaderOptions::declare(OptionSet& set) {
  set.add("batch-size", batch_size, "images per step (paper: 128)", {1, 65536});
  set.add("workers", workers, "threads that decode and augment ahead of the training step", {1, 256});
}

at::Tensor epoch_order(std::int64_t n, std::uint64_t seed, std::int64_t epoch) {
  const std::vector<std::int64_t> order =
      Rng(derive_seed(seed, "shuffle", {static_cast<std::uint64_t>(epoch)})).permutation(n);
  at::Tensor tensor = at::empty({n}, at::kLong);
  std::copy(order.begin(), order.end(), tensor.data_ptr<std::int64_t>());
  return tensor;
}

at::Tensor natural_order(std::int64_t n) { return at::arange(n, at::kLong); }

at::Tensor augment(const at::Tensor& images, const at::Tensor& indices, const AugmentOptions& options,
                   std::uint64_t seed, std::int64_t epoch) {
  if (images.dim() != 4 || indices.dim() != 1 || indices.size(0) != images.size(0) ||
      indices.scalar_type() != at::kLong) {
    throw Error(ErrorKind::internal, "augment: images are not [B,C,H,W] or their indices not [B] int64");
  }
  if (!options.flip && options.crop_pad == 0) return images;
  const at::Tensor in = images.contiguous();
  const at::Tensor samples = indices.contiguous();
  if (in.scalar_type() == at::kByte) return augment_values<std::uint8_t>(in, samples, options, seed, epoch);
  if (in.scalar_type() == at::kFloat) return augment_values<float>(in, samples, options, seed, epoch);
  throw Error(ErrorKind::internal, "augment: images are neither uint8 nor float32");
}

// In one pass: as floats the images are larger than the processor's cache.
at::Tensor to_unit(const at::Tensor& images) {
  const at::Tensor in = images.contiguous();
  at::Tensor out = at::empty(in.sizes(), in.options().dtype(at::kFloat));
  const std::uint8_t* const from = in.data_ptr<std::uint8_t>();
  float* const to = out.data_ptr<float>();
  constexpr std::int64_t worth_a_thread = 1 << 18;
  at::parallel_for(0, in.numel(), worth_a_thread, [&](std::int64_t begin, std::int64_t end) {
    divide_by_255(from + begin, end - begin, to + begin);
  });
  return out;
}

class Loader::Impl {
 public:
  Impl(DatasetPtr data, const at::Tensor& order, const LoaderOptions& options,
       const AugmentOptions& augmentation, std::uint64_t seed, std::int64_t epoch, std::int64_t first_batch,
       bool drop_single)
      : data_(std::move(data)),
        order_(checked_indices(order, data_->size())),
        options_(options),
        augmentation_(augmentation),
        seed_(seed),
        epoch_(epoch),
        claimed_(first_batch),
        handed_out_(first_batch) {
    if (options.batch_size < 1 || options.workers < 1) {
      throw Error(ErrorKind::internal, "a loader needs a batch size and workers of at least 1");
    }
    const std::int64_t samples = order_.size(0);
    batches_ = (samples + options.batch_size - 1) / options.batch_size;
    const bool ends_single = samples > 0 && samples - (batches_ - 1) * options.batch_size == 1;
    if (drop_single && ends_single) --batches_;
    if (first_batch < 0 || first_batch > batches_) {
      throw Error(ErrorKind::internal, "there is no batch " + std::to_string(first_batch) +
                                           " to start at, of " + std::to_string(batches_));
    }
    slots_.resize(static_cast<std::size_t>(2 * options.workers));
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    room_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void start() {
    const std::int64_t count = std::min(options_.workers, batches_ - handed_out_);
    for (std::int64_t w = 0; w < count; ++w) workers_.emplace_back([this] { work(); });
  }

  std::int64_t batches() const noexcept { return batches_; }

  std::unique_ptr<Batch> next() {
    std::unique_lock lock(mutex_);
    if (handed_out_ == batches_) return nullptr;
    Slot& slot = slot_of(handed_out_);
    filled_.wait(lock, [&] { return slot.batch || slot.error; });
    if (slot.error) std::rethrow_exception(slot.error);
    ++handed_out_;
    std::unique_ptr<Batch> batch = std::move(slot.batch);
    lock.unlock();
    room_.notify_one();
    return batch;
  }

 private:
  // A finished batch that waits to be handed out, or why there is none.
  struct Slot {
    std::unique_ptr<Batch> batch;
    std::exception_ptr error;
  };

  Slot& slot_of(std::int64_t batch) { return slots_[static_cast<std::size_t>(batch) % slots_.size()]; }

  void work() {
    keep_torch_on_this_thread();
    const auto capacity = static_cast<std::int64_t>(slots_.size());
    std::unique_lock lock(mutex_);
    for (;;) {
      room_.wait(lock, [&] { return stopped_ || claimed_ == batches_ || claimed_ < handed_out_ + capacity; });
      if (stopped_ || claimed_ == batches_) return;
      const std::int64_t number = claimed_++;
      lock.unlock();
      Slot done;
      try {
        done.batch = prepare(number);
      } catch (...) {
        done.error = std::current_exception();
      }
      lock.lock();
      // Batches are claimed in order, so all before a failed one are made or in the making.
      if (done.error) stopped_ = true;
      slot_of(number) = std::move(done);
      filled_.notify_one();
    }
  }

  std::unique_ptr<Batch> prepare(std::int64_t number) const {
    const std::int64_t begin = number * options_.batch_size;
    const std::int64_t end = std::min(begin + options_.batch_size, order_.size(0));
    auto batch = std::make_unique<Batch>();
    batch->indices = order_.narrow(0, begin, end - begin).clone();
    batch->labels = data_->labels().index_select(0, batch->indices);
    // On bytes, before they become four times as large.
    batch->images =
        to_unit(augment(data_->images(batch->indices), batch->indices, augmentation_, seed_, epoch_));
    return batch;
  }

  const DatasetPtr data_;
  const at::Tensor order_;
  const LoaderOptions options_;
  const AugmentOptions augmentation_;
  const std::uint64_t seed_;
  const std::int64_t epoch_;
  std::int64_t batches_ = 0;

  std::mutex mutex_;
  std::condition_variable filled_;  // a slot was filled
  std::condition_variable room_;    // a slot became free
  std::vector<Slot> slots_;
  std::int64_t claimed_;     // the next batch that a worker takes up
  std::int64_t handed_out_;  // the next batch that next() returns
  bool stopped_ = false;
  std::vector<std::thread> workers_;
};

Loader::Loader(DatasetPtr data, at::Tensor order, const LoaderOptions& options,
               const AugmentOptions& augmentation, std::uint64_t seed, std::int64_t epoch,
               std::int64_t first_batch, bool drop_single)
    : impl_(std::make_unique<Impl>(std::move(data), order, options, augmentation, seed, epoch, first_batch,
                                   drop_single)) {
  impl_->start();
}

Loader::~Loader() = default;

std::int64_t Loader::batches() const noexcept { return impl_->batches(); }

std::unique_ptr<Batch> Loader::next() { return impl_->next(); }

}  // namespace mcci
