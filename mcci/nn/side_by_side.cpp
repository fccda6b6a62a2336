#include "mcci/nn/side_by_side.hpp"

#include <atomic>
#include <cstdint>
#include <utility>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "mcci/nn/converted_weights.hpp"
#include "mcci/runtime/workers.hpp"

namespace mcci {
namespace {

using torch::autograd::variable_list;

thread_local c10::optional<at::Generator> generator_of_this_network;

struct Owning {
  explicit Owning(c10::optional<at::Generator> generator) {
    generator_of_this_network = std::move(generator);
  }
  ~Owning() { generator_of_this_network.reset(); }
  Owning(const Owning&) = delete;
  Owning& operator=(const Owning&) = delete;
};

// run(i) for each network i, by whichever thread is free, in the state (autocast, gradients) of the caller.
void on_all_threads(std::size_t count, const std::function<void(std::size_t)>& run) {
  const at::ThreadLocalState state;
  std::atomic<std::size_t> next{0};
  at::parallel_for(0, at::get_num_threads(), 1, [&](std::int64_t, std::int64_t) {
    // Of a team's threads LibTorch keeps to one each by itself, oneDNN does not.
    keep_torch_on_this_thread();
    const at::ThreadLocalStateGuard as_caller(state);
    const ForgetConverted forget;
    for (std::size_t i = next++; i < count; i = next++) run(i);
  });
}

struct Networks : torch::CustomClassHolder {
  variable_list answers;  // each with its own graph
};

// `spark` requires a gradient, so that the answers do.
class SideBySide : public torch::autograd::Function<SideBySide> {
 public:
  static variable_list forward(torch::autograd::AutogradContext* context, const torch::Tensor& /*spark*/,
                               const c10::intrusive_ptr<Networks>& networks) {
    context->set_materialize_grads(false);
    context->saved_data["networks"] = c10::IValue::make_capsule(networks);
    variable_list answers;
    for (const torch::Tensor& answer : networks->answers) answers.push_back(answer.detach());
    return answers;
  }

  static variable_list backward(torch::autograd::AutogradContext* context, variable_list gradients) {
    const auto capsule = context->saved_data["networks"].toCapsule();
    const variable_list& answers = static_cast<const Networks&>(*capsule).answers;
    on_all_threads(answers.size(), [&](std::size_t i) {
      if (gradients[i].defined()) torch::autograd::backward({answers[i]}, {gradients[i]});
    });
    return {{}, {}};
  }
};

// None where nothing is learned; else seeded by the global generator, one after the other.
std::vector<c10::optional<at::Generator>> generators(std::size_t count, bool in_training) {
  std::vector<c10::optional<at::Generator>> result(count);
  for (std::size_t i = 0; in_training && i < count; ++i) {
    const torch::Tensor seed = torch::randint(std::int64_t{1} << 62, {1});
    result[i] = at::detail::createCPUGenerator(static_cast<std::uint64_t>(seed.item<std::int64_t>()));
  }
  return result;
}

}  // namespace

c10::optional<at::Generator> own_generator() { return generator_of_this_network; }

std::vector<torch::Tensor> side_by_side(const torch::Device& device,
                                        const std::vector<std::function<torch::Tensor()>>& networks) {
  variable_list answers(networks.size());
  if (!device.is_cpu()) {
    for (std::size_t i = 0; i < networks.size(); ++i) answers[i] = networks[i]();
    return answers;
  }
  const bool in_training = torch::GradMode::is_enabled();
  const auto own = generators(networks.size(), in_training);
  on_all_threads(networks.size(), [&](std::size_t i) {
    const Owning owning(own[i]);
    answers[i] = networks[i]();
  });
  if (!in_training) return answers;
  auto held = c10::make_intrusive<Networks>();
  held->answers = std::move(answers);
  return SideBySide::apply(torch::zeros({}, torch::requires_grad()), std::move(held));
}

}  // namespace mcci
