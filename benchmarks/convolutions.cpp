#include "benchmarks/convolutions.hpp"

#include <chrono>
#include <memory>
#include <string_view>

#include <ATen/Parallel.h>

namespace mcci::benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

thread_local ObservedConvolutions* observer = nullptr;  // callbacks of LibTorch carry no state of their own

// What is known of a convolution before it runs.
struct Begun : at::ObserverContext {
  Convolution convolution;
  double operations_per_output = 0;
  Clock::time_point start;
};

bool in_channels_last(const at::Tensor& tensor) {
  return tensor.is_contiguous(at::MemoryFormat::ChannelsLast);
}

double operations_per_output(const at::Tensor& weight) {
  return 2.0 * static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0));
}

}  // namespace

ObservedConvolutions::ObservedConvolutions()
    : handle_(at::addThreadLocalCallback(
          at::RecordFunctionCallback(begin, end).needsInputs(true).needsOutputs(true))) {
  observer = this;
}

ObservedConvolutions::~ObservedConvolutions() {
  at::removeCallback(handle_);
  observer = nullptr;
}

std::unique_ptr<at::ObserverContext> ObservedConvolutions::begin(const at::RecordFunction& function) {
  const std::string_view name = function.name();
  const bool forward = name == "aten::convolution";
  if (!forward && name != "aten::convolution_backward") return nullptr;
  const auto inputs = function.inputs();
  const std::size_t first = forward ? 0 : 1;  // the gradient of the output comes before the input
  const at::Tensor& input = inputs[first].toTensor();
  const at::Tensor& weight = inputs[first + 1].toTensor();
  auto begun = std::make_unique<Begun>();
  begun->convolution.dtype = input.scalar_type();
  begun->convolution.channels_last = in_channels_last(input) && in_channels_last(weight);
  begun->convolution.threads = at::get_num_threads();
  begun->operations_per_output = operations_per_output(weight);
  if (!forward) {
    const auto gradients = inputs.back().toBoolList();  // of input, weight and bias: which are wanted
    const double products = (gradients.get(0) ? 1.0 : 0.0) + (gradients.get(1) ? 1.0 : 0.0);
    begun->convolution.operations =
        products * begun->operations_per_output * static_cast<double>(inputs[0].toTensor().numel());
  }
  begun->start = Clock::now();
  return begun;
}

void ObservedConvolutions::end(const at::RecordFunction& function, at::ObserverContext* context) {
  auto* const begun = static_cast<Begun*>(context);
  if (begun == nullptr || observer == nullptr) return;
  Convolution& convolution = begun->convolution;
  convolution.seconds = std::chrono::duration<double>(Clock::now() - begun->start).count();
  if (convolution.operations == 0) {
    convolution.operations =
        begun->operations_per_output * static_cast<double>(function.outputs()[0].toTensor().numel());
  }
  observer->seen_.push_back(convolution);
}

}  // namespace mcci::benchmarks
