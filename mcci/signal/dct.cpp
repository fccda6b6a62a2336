#include "mcci/signal/dct.hpp"

#include <cmath>
#include <string>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <c10/core/DispatchKeySet.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "mcci/core/error.hpp"
#include "mcci/signal/fast_dct.hpp"

namespace mcci {
namespace {

constexpr double pi = 3.14159265358979323846;

void check_planes(const at::Tensor& x) {
  if (!x.defined() || x.scalar_type() != at::kFloat || x.dim() < 2 || x.size(-1) < 1 || x.size(-2) < 1) {
    throw Error(ErrorKind::internal, "a DCT needs a float32 tensor [...,H,W]");
  }
}

// left x right for every plane x. LibTorch folds the planes of a batch into one large product where it can.
at::Tensor transform_planes(const at::Tensor& left, const at::Tensor& x, const at::Tensor& right) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return at::matmul(left, at::matmul(x, right)).contiguous();
}

bool needs_gradient(const at::Tensor& x) { return at::GradMode::is_enabled() && x.requires_grad(); }

}  // namespace

at::Tensor dct_matrix(std::int64_t n, at::Device device) {
  if (n < 1) throw Error(ErrorKind::internal, "a DCT matrix cannot have size " + std::to_string(n));
  const double size = static_cast<double>(n);
  const at::Tensor index = at::arange(n, at::TensorOptions().dtype(at::kDouble).device(device));
  const at::Tensor k = index.unsqueeze(1);
  at::Tensor d = at::cos((2.0 * index + 1.0) * k * (pi / (2.0 * size))) * std::sqrt(2.0 / size);
  d.select(0, 0).fill_(std::sqrt(1.0 / size));
  return d.to(at::kFloat);
}

at::Tensor dct2(const at::Tensor& x) {
  check_planes(x);
  const std::int64_t height = x.size(-2), width = x.size(-1);
  if (x.device().is_cpu() && !needs_gradient(x) && has_fast_dct(height) && has_fast_dct(width)) {
    const at::Tensor in = x.contiguous();
    at::Tensor out = at::empty(in.sizes(), in.options());
    fast_dct2(in.data_ptr<float>(), out.data_ptr<float>(), in.numel() / (height * width), height, width);
    return out;
  }
  return transform_planes(dct_matrix(height, x.device()), x, dct_matrix(width, x.device()).t());
}

at::Tensor idct2(const at::Tensor& x) {
  check_planes(x);
  return transform_planes(dct_matrix(x.size(-2), x.device()).t(), x, dct_matrix(x.size(-1), x.device()));
}

}  // namespace mcci
