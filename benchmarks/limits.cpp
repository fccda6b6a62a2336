#include <algorithm>
#include <memory>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "benchmarks/measurement.hpp"
#include "mcci/method/spectrum.hpp"

namespace mcci::benchmarks {

Measurement convolution_limit(const Compute& compute) {
  constexpr std::int64_t batch = 128;
  const auto rates = std::make_shared<std::vector<Measurement>>();
  for (std::int64_t stage = 0; stage < 4; ++stage) {
    const std::int64_t channels = 64 << stage;
    const std::int64_t side = 32 >> stage;
    const auto type = compute.bf16 ? at::kBFloat16 : at::kFloat;
    const auto make = [&](at::IntArrayRef size) {
      return at::rand(size).to(compute.device, type).contiguous(at::MemoryFormat::ChannelsLast);
    };
    const at::Tensor image = make({batch, channels, side, side});
    const at::Tensor weight = make({channels, channels, 3, 3});
    const double operations = 2.0 * static_cast<double>(image.numel()) * static_cast<double>(channels * 9);
    rates->push_back(rate("FLOP/s", operations, [image, weight] {
      const at::NoGradGuard no_grad;
      at::conv2d(image, weight, {}, 1, 1);
    }));
  }
  return {"FLOP/s", [rates](double seconds) {
            double best = 0;
            for (const Measurement& one : *rates)
              best = std::max(best, one.measure(seconds / static_cast<double>(rates->size())));
            return best;
          }};
}

Measurement spectrum(std::int64_t size) {
  const std::int64_t batch = size < 128 ? 128 : 16;
  const at::Tensor images = at::rand({batch, 3, size, size});
  return rate("images/s", static_cast<double>(batch), [images] { attack_indicator(images, Indicator::raw); });
}

}  // namespace mcci::benchmarks
