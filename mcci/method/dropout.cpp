#include "mcci/method/dropout.hpp"

#include <cmath>
#include <limits>

#include "mcci/nn/side_by_side.hpp"

namespace mcci {
namespace {

constexpr std::int64_t outcomes = 65536;  // of the 16 random bits that each value gets
constexpr std::int64_t values_per_draw = 4;

}  // namespace

DropoutImpl::DropoutImpl(double rate) : dropped_(std::llround(rate * outcomes)) {}

torch::Tensor DropoutImpl::forward(const torch::Tensor& x) {
  if (!is_training()) return x;
  const auto layout = torch::empty_like(x).strides().vec();  // dense, unlike those of a view
  const torch::Tensor bits =
      torch::empty({(x.numel() + values_per_draw - 1) / values_per_draw}, x.options().dtype(torch::kLong))
          .random_(std::numeric_limits<std::int64_t>::min(), c10::optional<std::int64_t>(), own_generator())
          .view(torch::kShort);
  const torch::Tensor kept = bits.as_strided(x.sizes(), layout).ge(dropped_ - outcomes / 2);
  const double scale = static_cast<double>(outcomes) / static_cast<double>(outcomes - dropped_);
  return x * kept.to(x.scalar_type()).mul_(scale);
}

}  // namespace mcci
