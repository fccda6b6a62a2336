#include "mcci/nn/attention.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <torch/version.h>

#if TORCH_VERSION_MAJOR >= 2
#include <ATen/ops/scaled_dot_product_attention.h>
#else
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/jit/frontend/tracer.h>
#endif

namespace mcci {

#if TORCH_VERSION_MAJOR >= 2

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t /*scores*/) {
  return at::scaled_dot_product_attention(q, k, v);
}

#else

namespace {

// q and k [..,N,d] -> probabilities [..,N,N], of q's dtype.
at::Tensor probabilities(const at::Tensor& q, const at::Tensor& k, double scale) {
  return (q * scale).matmul(k.transpose(-2, -1)).softmax(-1, at::kFloat).to(q.scalar_type());
}

// Calls work(first head, heads, first query, queries) for pieces that have at most `scores` scores each.
template <class Work>
void in_pieces(std::int64_t heads, std::int64_t queries, std::int64_t keys, std::int64_t scores,
               const Work& work) {
  const std::int64_t rows = std::clamp<std::int64_t>(scores / keys, 1, queries);
  const std::int64_t group =
      rows < queries ? 1 : std::clamp<std::int64_t>(scores / (queries * keys), 1, heads);
  for (std::int64_t h = 0; h < heads; h += group) {
    for (std::int64_t i = 0; i < queries; i += rows)
      work(h, std::min(group, heads - h), i, std::min(rows, queries - i));
  }
}

// On [H,N,d], H = batch x heads.
class LeanAttention : public torch::autograd::Function<LeanAttention> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, std::int64_t scores) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    context->save_for_backward({q, k, v});
    context->saved_data["scores"] = scores;
    const double scale = 1 / std::sqrt(static_cast<double>(q.size(2)));
    at::Tensor out = at::empty_like(q);
    in_pieces(q.size(0), q.size(1), k.size(1), scores, [&](auto h, auto heads, auto i, auto rows) {
      const at::Tensor p =
          probabilities(q.narrow(0, h, heads).narrow(1, i, rows), k.narrow(0, h, heads), scale);
      out.narrow(0, h, heads).narrow(1, i, rows).copy_(p.bmm(v.narrow(0, h, heads)));
    });
    return out;
  }

  // With P = softmax(s q k^T), O = P v and the gradient G of O: dv = P^T G, dP = G v^T,
  // dS = P (dP - sum_j P dP), dq = s dS k, dk = s dS^T q.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const at::Tensor g = gradients[0].to(q.scalar_type());
    const double scale = 1 / std::sqrt(static_cast<double>(q.size(2)));
    at::Tensor dq = at::empty_like(q);
    at::Tensor dk = at::zeros_like(k);
    at::Tensor dv = at::zeros_like(v);
    in_pieces(q.size(0), q.size(1), k.size(1), context->saved_data["scores"].toInt(),
              [&](auto h, auto heads, auto i, auto rows) {
                const at::Tensor q_rows = q.narrow(0, h, heads).narrow(1, i, rows);
                const at::Tensor k_heads = k.narrow(0, h, heads);
                const at::Tensor g_rows = g.narrow(0, h, heads).narrow(1, i, rows);
                const at::Tensor p = probabilities(q_rows, k_heads, scale);
                dv.narrow(0, h, heads).add_(p.transpose(1, 2).bmm(g_rows));
                const at::Tensor dp = g_rows.bmm(v.narrow(0, h, heads).transpose(1, 2));
                const at::Tensor ds = p * (dp - (p * dp).sum(-1, /*keepdim=*/true)) * scale;
                dq.narrow(0, h, heads).narrow(1, i, rows).copy_(ds.bmm(k_heads));
                dk.narrow(0, h, heads).add_(ds.transpose(1, 2).bmm(q_rows));
              });
    return {dq, dk, dv, {}};
  }
};

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t scores) {
  // A trace must hold for any batch: no loop whose length depends on it.
  if (torch::jit::tracer::isTracing()) {
    return probabilities(q, k, 1 / std::sqrt(static_cast<double>(q.size(3)))).matmul(v);
  }
  const auto merged = [](const at::Tensor& t) { return t.flatten(0, 1).contiguous(); };
  return LeanAttention::apply(merged(q), merged(k), merged(v), scores).unflatten(0, {q.size(0), q.size(1)});
}

#endif

}  // namespace mcci
