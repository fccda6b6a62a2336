#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

namespace mcci::benchmarks {

// A convolution that LibTorch ran, or the gradients of one.
struct Convolution {
  at::ScalarType dtype = at::kFloat;
  bool channels_last = false;  // input and weight
  int threads = 0;
  double operations = 0;  // floating point, a multiplication and an addition being two
  double seconds = 0;
};

// Sees all convolutions that this thread starts while it lives; one at a time.
class ObservedConvolutions {
 public:
  ObservedConvolutions();
  ~ObservedConvolutions();
  ObservedConvolutions(const ObservedConvolutions&) = delete;
  ObservedConvolutions& operator=(const ObservedConvolutions&) = delete;

  const std::vector<Convolution>& seen() const noexcept { return seen_; }

 private:
  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& function);
  static void end(const at::RecordFunction& function, at::ObserverContext* context);

  std::vector<Convolution> seen_;
  at::CallbackHandle handle_;
};

}  // namespace mcci::benchmarks
