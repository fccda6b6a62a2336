#include "mcci/nn/recompute.hpp"

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "mcci/nn/converted_weights.hpp"

namespace mcci {
namespace {

using Forward = std::function<torch::Tensor(const torch::Tensor&)>;

// What must come back on the way back, besides x.
struct Call : torch::CustomClassHolder {
  explicit Call(Forward f) : forward(std::move(f)) {}
  Forward forward;
  c10::impl::LocalDispatchKeySet keys = c10::impl::tls_local_dispatch_key_set();  // autocast is one of them
};

// `spark` requires a gradient, so that the parameters get theirs even where x needs none.
class Recomputed : public torch::autograd::Function<Recomputed> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& /*spark*/, const c10::intrusive_ptr<Call>& call) {
    context->save_for_backward({x});
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    context->saved_data["of_x"] = x.requires_grad();
    return call->forward(x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto capsule = context->saved_data["call"].toCapsule();
    const Call& call = static_cast<const Call&>(*capsule);
    const torch::Tensor x = context->get_saved_variables()[0].detach();
    x.requires_grad_(context->saved_data["of_x"].toBool());
    torch::Tensor out;
    {
      const c10::impl::ForceDispatchKeyGuard as_before(call.keys);
      const torch::AutoGradMode with_gradients(true);
      const ForgetConverted forget;
      out = call.forward(x);
    }
    torch::autograd::backward({out}, {gradients[0]});
    return {x.grad(), {}, {}};
  }
};

}  // namespace

torch::Tensor recomputed(Forward forward, const torch::Tensor& x) {
  if (!torch::GradMode::is_enabled()) return forward(x);
  const torch::Tensor spark = torch::zeros({}, torch::requires_grad());
  return Recomputed::apply(x, spark, c10::make_intrusive<Call>(std::move(forward)));
}

}  // namespace mcci
