#pragma once

#include <cstdint>
#include <string>

#include <ATen/core/Tensor.h>

#include "mcci/core/options.hpp"

namespace torch::nn {
class Module;
}

namespace mcci {

struct ComputeOptions {
  std::int64_t threads = 0;
  std::string precision = "auto";
  std::string device = "auto";
  void declare(OptionSet& set);
};

// How this process computes, decided once.
struct Compute {
  at::Device device = at::kCPU;
  bool bf16 = false;  // autocast of convolutions and linear layers to bfloat16; weights stay float32
  std::int64_t threads = 1;
};

// Takes the threads asked for (LibTorch by itself takes half of the cores), for what the calling thread does:
// where LibTorch has no MKL, what others do keeps to the thread that does it. Keeps freed activations in the
// process instead of returning them to the kernel (10-25 % of a training step), has these threads take
// numbers below 1.2e-38 for zero (a saturated softmax makes such gradients, and a layer of them takes 20 to
// 100 times as long in fp32), and settles device and precision: bf16 where the processor is faster in it
// (processor.hpp), CUDA where there is a device. Call it first thing, on the main thread. Errors: usage if
// what is asked for is not there.
Compute setup_compute(const ComputeOptions& options);

// Runs the enclosed forward pass in bfloat16 if compute.bf16; the loss belongs outside, in float32.
class Autocast {
 public:
  explicit Autocast(const Compute& compute);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool active_;
  bool cuda_;
};

// Moves the module to the device and its 4-d parameters to channels_last, the faster layout for convolutions.
// Call it before an optimizer takes the parameters.
void place(torch::nn::Module& module, const Compute& compute);
// A batch of images [B,C,H,W] on the device, in the same layout.
at::Tensor place(const at::Tensor& images, const Compute& compute);
// Images [B,C,H,W] in that layout, with strides that say so even of one channel.
at::Tensor channels_last(const at::Tensor& images);

}  // namespace mcci
