#include "mcci/nn/depthwise.hpp"

#include <algorithm>
#include <tuple>
#include <variant>
#include <vector>

#include <torch/csrc/autograd/custom_function.h>

namespace mcci {
namespace {

constexpr std::int64_t piece = 3;  // pixels a side of the filters for which there is a fast kernel

// Where pieces begin that cover `kernel` >= 3 pixels; they may overlap.
std::vector<std::int64_t> beginnings(std::int64_t kernel) {
  std::vector<std::int64_t> result;
  for (std::int64_t begin = 0; begin < kernel; begin += piece)
    result.push_back(std::min(begin, kernel - piece));
  return result;
}

// Stride and padding are the same in both directions.
class Depthwise : public torch::autograd::Function<Depthwise> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, std::int64_t stride, std::int64_t padding) {
    context->save_for_backward({x, weight});
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    return torch::conv2d(x, weight, {}, stride, padding, /*dilation=*/1, /*groups=*/weight.size(0));
  }

  // dL/dw[c,i,j] is the correlation of the output's gradient with the image shifted by (i,j): that of a
  // 3x3 filter on the image from (a,b) on holds those of w[c, a..a+2, b..b+2].
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor& g = gradients[0];
    const torch::Tensor x = saved[0].to(g.scalar_type());
    const torch::Tensor weight = saved[1].to(g.scalar_type());
    const std::int64_t stride = context->saved_data["stride"].toInt();
    const std::int64_t padding = context->saved_data["padding"].toInt();
    const auto derivative = [&](const torch::Tensor& of, const torch::Tensor& filter, std::int64_t padded,
                                bool by_image) {
      const auto both = torch::convolution_backward(g, of, filter, torch::nullopt, {stride, stride},
                                                    {padded, padded}, {1, 1}, /*transposed=*/false, {0, 0},
                                                    filter.size(0), {by_image, !by_image, false});
      return by_image ? std::get<0>(both) : std::get<1>(both);
    };
    const torch::Tensor by_image = derivative(x, weight, padding, /*by_image=*/true);
    const torch::Tensor padded = torch::constant_pad_nd(x, {padding, padding, padding, padding});
    const torch::Tensor filter = torch::zeros({weight.size(0), 1, piece, piece}, weight.options());
    torch::Tensor by_weight = torch::empty_like(saved[1]);
    for (const std::int64_t row : beginnings(weight.size(2))) {
      for (const std::int64_t column : beginnings(weight.size(3))) {
        const torch::Tensor shifted = padded.narrow(2, row, (g.size(2) - 1) * stride + piece)
                                          .narrow(3, column, (g.size(3) - 1) * stride + piece)
                                          .contiguous(x.suggest_memory_format());
        by_weight.narrow(2, row, piece)
            .narrow(3, column, piece)
            .copy_(derivative(shifted, filter, 0, /*by_image=*/false));
      }
    }
    return {by_image.to(saved[0].scalar_type()), by_weight, {}, {}};
  }
};

}  // namespace

torch::Tensor convolve(torch::nn::Conv2d& convolution, const torch::Tensor& x) {
  const torch::Tensor& weight = convolution->weight;
  const bool learns = torch::GradMode::is_enabled() && weight.requires_grad();
  const bool large_depthwise = weight.size(0) == convolution->options.groups() && weight.size(2) > piece;
  if (!learns || !large_depthwise || !x.device().is_cpu()) return convolution(x);
  using std::get;  // LibTorch 1.13 has variants of its own
  const auto& options = convolution->options;
  const torch::Tensor y = Depthwise::apply(x, weight, options.stride()->at(0),
                                           get<torch::ExpandingArray<2>>(options.padding())->at(0));
  return convolution->bias.defined() ? y + convolution->bias.to(y.scalar_type()).view({1, -1, 1, 1}) : y;
}

}  // namespace mcci
