#include "mcci/train/optimizer.hpp"

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "mcci/core/registry.hpp"
#include "mcci/train/adadelta.hpp"

namespace mcci {

Optimizer::Optimizer(const OptimizerOptions& options, TensorList parameters, std::vector<double> scales,
                     const std::vector<std::string>& slots)
    : parameters_(std::move(parameters)),
      weight_decay_(options.weight_decay),
      decay_vectors_(options.decay_vectors),
      scales_(std::move(scales)),
      slots_(slots.size()) {
  for (const auto& [name, parameter] : parameters_) {
    for (const std::string& slot_name : slots) {
      state_.emplace_back(slot_name + "." + name, at::zeros_like(parameter.detach()));
    }
  }
}

double Optimizer::weight_decay(std::size_t p) const {
  return decay_vectors_ || parameters_[p].second.dim() > 1 ? weight_decay_ : 0;
}

void Optimizer::zero_grad() {
  for (auto& [name, parameter] : parameters_) parameter.mutable_grad() = at::Tensor();
}

namespace {

class Sgd : public Optimizer {
 public:
  Sgd(const OptimizerOptions& options, TensorList parameters, std::vector<double> scales)
      : Optimizer(options, std::move(parameters), std::move(scales), {"momentum"}),
        momentum_(options.momentum) {}

  void step(double lr) override {
    at::NoGradGuard no_grad;
    for (std::size_t p = 0; p < parameters_.size(); ++p) {
      at::Tensor& parameter = parameters_[p].second;
      if (!parameter.grad().defined()) continue;
      const at::Tensor gradient = parameter.grad().add(parameter, weight_decay(p));
      at::Tensor& velocity = slot(p, 0);
      velocity.mul_(momentum_).add_(gradient);
      parameter.add_(momentum_ > 0 ? gradient.add(velocity, momentum_) : gradient, -rate(lr, p));
    }
  }

 private:
  double momentum_;
};

// Whether value i in memory of one belongs to value i of the other. An optimizer's state is laid out as the
// parameter.
bool is_plain_memory(const at::Tensor& parameter, const at::Tensor& gradient) {
  return parameter.is_cpu() && parameter.scalar_type() == at::kFloat &&
         gradient.scalar_type() == at::kFloat && gradient.is_cpu() &&
         parameter.is_non_overlapping_and_dense() && gradient.strides() == parameter.strides();
}

class Adadelta : public Optimizer {
 public:
  Adadelta(const OptimizerOptions& options, TensorList parameters, std::vector<double> scales)
      : Optimizer(options, std::move(parameters), std::move(scales),
                  {"square_average", "accumulated_delta"}) {}

  void step(double lr) override {
    at::NoGradGuard no_grad;
    for (std::size_t p = 0; p < parameters_.size(); ++p) {
      at::Tensor& parameter = parameters_[p].second;
      if (!parameter.grad().defined()) continue;
      if (is_plain_memory(parameter, parameter.grad())) {
        adadelta_step(parameter.data_ptr<float>(), parameter.grad().data_ptr<float>(),
                      slot(p, 0).data_ptr<float>(), slot(p, 1).data_ptr<float>(), parameter.numel(),
                      static_cast<float>(weight_decay(p)), static_cast<float>(rate(lr, p)));
      } else {
        step_by_tensors(p, lr);
      }
    }
  }

 private:
  // The same on other devices, and for a gradient that is laid out differently.
  void step_by_tensors(std::size_t p, double lr) {
    constexpr double rho = adadelta_rho;
    constexpr double epsilon = adadelta_epsilon;
    at::Tensor& parameter = parameters_[p].second;
    const at::Tensor gradient = parameter.grad().add(parameter, weight_decay(p));
    at::Tensor& square_average = slot(p, 0);
    at::Tensor& accumulated_delta = slot(p, 1);
    square_average.mul_(rho).addcmul_(gradient, gradient, 1 - rho);
    const at::Tensor delta =
        accumulated_delta.add(epsilon).sqrt_().div_(square_average.add(epsilon).sqrt_()).mul_(gradient);
    accumulated_delta.mul_(rho).addcmul_(delta, delta, 1 - rho);
    parameter.add_(delta, -rate(lr, p));
  }
};

class Adam : public Optimizer {
 public:
  Adam(const OptimizerOptions& options, TensorList parameters, std::vector<double> scales)
      : Optimizer(options, std::move(parameters), std::move(scales), {"first_moment", "second_moment"}),
        beta1_(options.momentum),
        decoupled_(options.optimizer == "adamw"),
        steps_(at::zeros({static_cast<std::int64_t>(parameters_.size())}, at::kLong)) {
    keep("steps", steps_);
  }

  void step(double lr) override {
    constexpr double beta2 = 0.999;
    constexpr double epsilon = 1e-8;
    at::NoGradGuard no_grad;
    auto* const steps = steps_.data_ptr<std::int64_t>();
    for (std::size_t p = 0; p < parameters_.size(); ++p) {
      at::Tensor& parameter = parameters_[p].second;
      if (!parameter.grad().defined()) continue;
      const auto t = static_cast<double>(++steps[p]);
      const double step_size = rate(lr, p);
      if (decoupled_) parameter.mul_(1 - step_size * weight_decay(p));
      const at::Tensor gradient =
          decoupled_ ? parameter.grad() : parameter.grad().add(parameter, weight_decay(p));
      at::Tensor& first_moment = slot(p, 0);
      at::Tensor& second_moment = slot(p, 1);
      first_moment.mul_(beta1_).add_(gradient, 1 - beta1_);
      second_moment.mul_(beta2).addcmul_(gradient, gradient, 1 - beta2);
      // Both moments start at zero and so are too small at first.
      const at::Tensor deviation = second_moment.div(1 - std::pow(beta2, t)).sqrt_().add_(epsilon);
      parameter.addcdiv_(first_moment, deviation, -step_size / (1 - std::pow(beta1_, t)));
    }
  }

 private:
  double beta1_;
  bool decoupled_;
  at::Tensor steps_;  // [parameters] int64
};

template <class Kind>
std::unique_ptr<Optimizer> make(const OptimizerOptions& options, TensorList parameters,
                                std::vector<double> scales) {
  return std::make_unique<Kind>(options, std::move(parameters), std::move(scales));
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, TensorList parameters,
                                          std::vector<double> scales) {
  using Make = std::unique_ptr<Optimizer> (*)(const OptimizerOptions&, TensorList, std::vector<double>);
  static const Registry<Make> optimizers(
      "optimizer", {{"sgd", "stochastic gradient descent with Nesterov momentum", make<Sgd>},
                    {"adadelta", "Zeiler 2012, the paper's", make<Adadelta>},
                    {"adam", "Kingma and Ba 2015", make<Adam>},
                    {"adamw", "Loshchilov and Hutter 2019", make<Adam>}});
  return optimizers.at(options.optimizer)(options, std::move(parameters), std::move(scales));
}

void clip_gradients(const TensorList& parameters, double largest) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  std::vector<at::Tensor> norms;
  for (const auto& [name, parameter] : parameters) {
    if (!parameter.grad().defined()) continue;
    gradients.push_back(parameter.grad());
    norms.push_back(parameter.grad().norm());
  }
  if (gradients.empty()) return;
  const at::Tensor factor = (largest / (at::stack(norms).norm() + 1e-6)).clamp_max(1);
  for (at::Tensor& gradient : gradients) gradient.mul_(factor);
}

}  // namespace mcci
