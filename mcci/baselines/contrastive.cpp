#include "mcci/baselines/contrastive.hpp"

#include <limits>

#include <torch/nn/functional/loss.h>
#include <torch/nn/functional/normalization.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

#include "mcci/state/module_state.hpp"

namespace mcci {
namespace {

at::TensorOptions groups_options(const at::Tensor& like) { return like.options().dtype(torch::kLong); }

}  // namespace

ViewOptions simclr_views(bool flip) {
  ViewOptions views;
  views.flip = flip;
  views.least_area = 0.2;
  views.brightness = 0.4;
  views.contrast = 0.4;
  views.grey = 0.2;
  return views;
}

void SelfSupervisionOptions::declare(OptionSet& set) {
  set.add("self-supervised-epochs", self_supervised_epochs, "epochs of SimCLR, which looks at no label",
          {1, 100000});
  set.add("self-supervised-lr", self_supervised_lr,
          "their learning rate, by sgd, one-cycle with the warm-up of the run", {1e-8, 100.0});
  set.add("contrast-temperature", contrast_temperature, "of SimCLR's similarities", {0.01, 10.0});
}

Phase SelfSupervisionOptions::phase(TensorList parameters, const TrainOptions& options) const {
  Phase phase = make_phase("self-supervised", std::move(parameters), options);
  phase.epochs = self_supervised_epochs;
  phase.optimizer = OptimizerOptions();
  phase.optimizer.lr = self_supervised_lr;
  phase.optimizer.weight_decay = 1e-4;
  phase.schedule = ScheduleOptions();
  phase.schedule.warmup = options.schedule.warmup;
  phase.augment = AugmentOptions::none();
  phase.classifies = false;
  return phase;
}

StepOutput SelfSupervisionOptions::loss(const std::function<at::Tensor(const at::Tensor& images)>& projected,
                                        const at::Tensor& images, const ViewOptions& views) const {
  const at::Tensor first = projected(random_view(images, views));
  const at::Tensor second = projected(random_view(images, views));
  return {contrastive_loss(first, second, contrast_temperature), {}};
}

TensorList with_projection(const torch::nn::Module& network, const torch::nn::Module& projection) {
  TensorList all = parameter_list(network);
  for (auto& named : with_prefix_added(parameter_list(projection), "projection")) {
    all.push_back(std::move(named));
  }
  return all;
}

torch::nn::Sequential projection_head(std::int64_t in) {
  return torch::nn::Sequential(torch::nn::Linear(in, in), torch::nn::ReLU(), torch::nn::Linear(in, 128));
}

at::Tensor contrastive_loss(const at::Tensor& a, const at::Tensor& b, double temperature,
                            const at::Tensor& groups) {
  namespace F = torch::nn::functional;
  const std::int64_t n = a.size(0);
  const at::Tensor all = F::normalize(torch::cat({a, b}), F::NormalizeFuncOptions().dim(1));
  const at::Tensor itself = torch::eye(2 * n, all.options().dtype(torch::kBool));
  const at::Tensor similar =
      (all.mm(all.t()) / temperature).masked_fill(itself, -std::numeric_limits<float>::infinity());
  if (!groups.defined()) {
    const at::Tensor partner = torch::arange(2 * n, groups_options(all)).add(n).remainder(2 * n);
    return F::cross_entropy(similar, partner);
  }
  // Whoever has no group is in one with its other view alone.
  const at::Tensor alone = -1 - torch::arange(n, groups_options(all));
  const at::Tensor group = torch::where(groups.ge(0), groups, alone).repeat({2});
  const at::Tensor wanted =
      group.unsqueeze(0).eq(group.unsqueeze(1)).logical_and(itself.logical_not()).to(torch::kFloat);
  const at::Tensor log_p = similar.log_softmax(1).masked_fill(itself, 0);
  return -((wanted * log_p).sum(1) / wanted.sum(1)).mean();
}

}  // namespace mcci
