#include "mcci/runtime/compute.hpp"

#include <algorithm>
#include <cstdlib>
#include <malloc.h>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <climits>
#include <torch/nn/module.h>
#include <torch/version.h>

#include "mcci/core/error.hpp"
#include "mcci/runtime/processor.hpp"
#include "mcci/runtime/workers.hpp"

namespace mcci {
namespace {

// OMP_NUM_THREADS where it is set, as everywhere in this ecosystem; else every core this process may use.
std::int64_t default_threads() {
  if (const char* wish = std::getenv("OMP_NUM_THREADS")) {
    if (const int threads = std::atoi(wish); threads > 0) return threads;
  }
  return allowed_cpus();
}

#define MCCI_TORCH_AT_LEAST(major, minor) \
  (TORCH_VERSION_MAJOR > (major) || (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))

void set_autocast(bool cuda, bool enabled) {
#if MCCI_TORCH_AT_LEAST(2, 4)
  const auto type = cuda ? at::kCUDA : at::kCPU;
  at::autocast::set_autocast_enabled(type, enabled);
  at::autocast::set_autocast_dtype(type, at::kBFloat16);
#else
  if (cuda) {
    at::autocast::set_enabled(enabled);
    at::autocast::set_autocast_gpu_dtype(at::kBFloat16);
  } else {
    at::autocast::set_cpu_enabled(enabled);
    at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
  }
#endif
}

// LibTorch's count is for every thread: each sets it when it first has something to do, and LibTorch 1.13
// then makes a pool of as many threads anew, which nothing here uses and which spins for 20 milliseconds.
// With a count of one there is none. MKL would keep to that count.
void set_num_threads(int threads) {
  at::set_num_threads(at::hasMKL() ? threads : 1);
  keep_torch_on_threads(threads);
}

}  // namespace

void ComputeOptions::declare(OptionSet& set) {
  set.add("threads", threads, "CPU threads; 0: OMP_NUM_THREADS, or else every core this process may use",
          {0, 4096});
  set.add("precision", precision, "of forward passes; auto: bf16 where the processor is faster in it",
          {"auto", "fp32", "bf16"});
  set.add("device", device, "auto: CUDA where there is a device", {"auto", "cpu", "cuda"});
}

Compute setup_compute(const ComputeOptions& options) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  // The heaps of further arenas end at 64 MiB: a batch of large images, made by a thread of the loader, would
  // be mapped and cleared anew each time.
  mallopt(M_ARENA_MAX, 1);
  Compute compute;
  compute.threads = options.threads > 0 ? options.threads : default_threads();
  set_num_threads(static_cast<int>(compute.threads));
  // Each thread has its own mode: with this grain size each takes one piece.
  at::parallel_for(0, compute.threads, 1,
                   [](std::int64_t, std::int64_t) { at::globalContext().setFlushDenormal(true); });
  const bool cuda = at::globalContext().hasCUDA();
  if (options.device == "cuda" && !cuda) {
    throw Error(ErrorKind::usage, "there is no CUDA device that this LibTorch can use", "--device",
                "use --device cpu, or a LibTorch built for CUDA");
  }
  if (cuda && options.device != "cpu") compute.device = at::kCUDA;
  compute.bf16 =
      options.precision == "bf16" ||
      (options.precision == "auto" && (compute.device.is_cuda() || faster_in_bf16(this_processor())));
  return compute;
}

Autocast::Autocast(const Compute& compute) : active_(compute.bf16), cuda_(compute.device.is_cuda()) {
  if (!active_) return;
  set_autocast(cuda_, true);
  at::autocast::increment_nesting();
}

Autocast::~Autocast() {
  if (!active_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  set_autocast(cuda_, false);
}

void place(torch::nn::Module& module, const Compute& compute) {
  module.to(compute.device);
  for (at::Tensor& parameter : module.parameters()) {
    if (parameter.dim() == 4) parameter.set_data(channels_last(parameter));
  }
}

at::Tensor place(const at::Tensor& images, const Compute& compute) {
  return channels_last(images.to(compute.device));
}

at::Tensor channels_last(const at::Tensor& images) {
  if (images.size(1) != 1) return images.contiguous(at::MemoryFormat::ChannelsLast);
  // Either layout of one channel is the same memory. contiguous() leaves strides that say the other one;
  // where neither images nor filters say this one, the first convolution answers in the other, and the
  // gradients of its activation cost thirty times as much.
  return images.contiguous().view({images.size(0), images.size(2), images.size(3), 1}).permute({0, 3, 1, 2});
}

}  // namespace mcci
