#include "mcci/train/optimizer.hpp"

#include <cmath>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "mcci/core/registry.hpp"

namespace mcci {

Optimizer::Optimizer(TensorList parameters, const std::vector<std::string>& slots)
    : parameters_(std::move(parameters)), slots_(slots.size()) {
  for (const auto& [name, parameter] : parameters_) {
    for (const std::string& slot_name : slots) {
      state_.emplace_back(slot_name + "." + name, at::zeros_like(parameter.detach()));
    }
  }
}

void Optimizer::zero_grad() {
  for (auto& [name, parameter] : parameters_) parameter.mutable_grad() = at::Tensor();
}

namespace {

class Sgd : public Optimizer {
 public:
  Sgd(const OptimizerOptions& options, TensorList parameters)
      : Optimizer(std::move(parameters), {"momentum"}),
        momentum_(options.momentum),
        decay_(options.weight_decay) {}

  void step(double lr) override {
    at::NoGradGuard no_grad;
    for (std::size_t p = 0; p < parameters_.size(); ++p) {
      at::Tensor& parameter = parameters_[p].second;
      if (!parameter.grad().defined()) continue;
      const at::Tensor gradient = parameter.grad().add(parameter, decay_);
      at::Tensor& velocity = slot(p, 0);
      velocity.mul_(momentum_).add_(gradient);
      parameter.add_(momentum_ > 0 ? gradient.add(velocity, momentum_) : gradient, -lr);
    }
  }

 private:
  double momentum_;
  double decay_;
};

class Adadelta : public Optimizer {
 public:
  Adadelta(const OptimizerOptions& options, TensorList parameters)
      : Optimizer(std::move(parameters), {"square_average", "accumulated_delta"}),
        decay_(options.weight_decay) {}

  void step(double lr) override {
    constexpr double rho = 0.9;
    constexpr double epsilon = 1e-6;
    at::NoGradGuard no_grad;
    for (std::size_t p = 0; p < parameters_.size(); ++p) {
      at::Tensor& parameter = parameters_[p].second;
      if (!parameter.grad().defined()) continue;
      const at::Tensor gradient = parameter.grad().add(parameter, decay_);
      at::Tensor& square_average = slot(p, 0);
      at::Tensor& accumulated_delta = slot(p, 1);
      square_average.mul_(rho).addcmul_(gradient, gradient, 1 - rho);
      const at::Tensor delta =
          accumulated_delta.add(epsilon).sqrt_().div_(square_average.add(epsilon).sqrt_()).mul_(gradient);
      accumulated_delta.mul_(rho).addcmul_(delta, delta, 1 - rho);
      parameter.add_(delta, -lr);
    }
  }

 private:
  double decay_;
};

class Adam : public Optimizer {
 public:
  Adam(const OptimizerOptions& options, TensorList parameters)
      : Optimizer(std::move(parameters), {"first_moment", "second_moment"}),
        beta1_(options.momentum),
        decay_(options.weight_decay),
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
      const at::Tensor gradient = parameter.grad().add(parameter, decay_);
      at::Tensor& first_moment = slot(p, 0);
      at::Tensor& second_moment = slot(p, 1);
      first_moment.mul_(beta1_).add_(gradient, 1 - beta1_);
      second_moment.mul_(beta2).addcmul_(gradient, gradient, 1 - beta2);
      // Both moments start at zero and so are too small at first.
      const at::Tensor deviation = second_moment.div(1 - std::pow(beta2, t)).sqrt_().add_(epsilon);
      parameter.addcdiv_(first_moment, deviation, -lr / (1 - std::pow(beta1_, t)));
    }
  }

 private:
  double beta1_;
  double decay_;
  at::Tensor steps_;  // [parameters] int64
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, TensorList parameters) {
  using Make = std::unique_ptr<Optimizer> (*)(const OptimizerOptions&, TensorList);
  static const Registry<Make> optimizers(
      "optimizer", {{"sgd", "stochastic gradient descent with Nesterov momentum",
                     [](const OptimizerOptions& o, TensorList p) -> std::unique_ptr<Optimizer> {
                       return std::make_unique<Sgd>(o, std::move(p));
                     }},
                    {"adadelta", "Zeiler 2012, the paper's",
                     [](const OptimizerOptions& o, TensorList p) -> std::unique_ptr<Optimizer> {
                       return std::make_unique<Adadelta>(o, std::move(p));
                     }},
                    {"adam", "Kingma and Ba 2015",
                     [](const OptimizerOptions& o, TensorList p) -> std::unique_ptr<Optimizer> {
                       return std::make_unique<Adam>(o, std::move(p));
                     }}});
  return optimizers.at(options.optimizer)(options, std::move(parameters));
}

}  // namespace mcci
