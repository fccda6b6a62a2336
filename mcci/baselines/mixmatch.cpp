#include "mcci/baselines/mixmatch.hpp"

#include <algorithm>

#include <torch/nn/functional/loss.h>
#include <torch/types.h>

namespace mcci {
namespace {

constexpr double cross_entropy_weight = 0.1;
constexpr double log_of_zero =
    -9.210340371976182;  // log(1e-4), what the reverse cross entropy takes for log(0)

// Beta(alpha, alpha), from the global generator.
double beta(double alpha) {
  const at::Tensor gammas = at::_standard_gamma(at::full({2}, alpha, at::kDouble));
  return (gammas[0] / gammas.sum().clamp_min(1e-12)).item<double>();
}

}  // namespace

void MixMatchOptions::declare(OptionSet& set) {
  set.add("mixmatch-temperature", temperature, "of the sharpening of guessed labels", {0.01, 10.0});
  set.add("mixmatch-alpha", alpha, "of the Beta distribution of the mixing factor", {0.01, 100.0});
  set.add("mixmatch-weight", unlabelled_weight, "of the unlabelled part of the loss, once ramped up",
          {0.0, 10000.0});
  set.add("epoch-images", epoch_images, "labelled images in an epoch of semi-supervised training",
          {1, 1000000000});
}

at::Tensor sharpened(const at::Tensor& probabilities, double temperature) {
  const at::Tensor powers = probabilities.pow(1 / temperature);
  return powers / powers.sum(1, /*keepdim=*/true);
}

StepOutput mixmatch_step(const Answer& network, const MixMatchBatch& batch, const MixMatchOptions& options,
                         const ViewOptions& views, double ramp) {
  const std::int64_t labelled = batch.labelled.size(0);
  const at::Tensor first = random_view(batch.unlabelled, views);
  const at::Tensor second = random_view(batch.unlabelled, views);
  at::Tensor guessed;
  {
    const torch::NoGradGuard no_grad;
    const at::Tensor answers = network(torch::cat({first, second})).softmax(1);
    guessed =
        sharpened((answers.narrow(0, 0, first.size(0)) + answers.narrow(0, first.size(0), first.size(0))) / 2,
                  options.temperature);
  }
  const at::Tensor images = torch::cat({random_view(batch.labelled, views), first, second});
  const at::Tensor targets =
      torch::cat({torch::one_hot(batch.labels, guessed.size(1)).to(torch::kFloat), guessed, guessed});
  const double drawn = beta(options.alpha);
  const double own = std::max(drawn, 1 - drawn);
  const at::Tensor others = torch::randperm(images.size(0), torch::kLong).to(images.device());
  const at::Tensor logits = network(own * images + (1 - own) * images.index_select(0, others));
  const at::Tensor wanted = own * targets + (1 - own) * targets.index_select(0, others);
  const at::Tensor log_p = logits.log_softmax(1);
  const std::int64_t rest = images.size(0) - labelled;
  const at::Tensor of_labelled =
      -(wanted.narrow(0, 0, labelled) * log_p.narrow(0, 0, labelled)).sum(1).mean();
  const at::Tensor of_unlabelled =
      (log_p.narrow(0, labelled, rest).exp() - wanted.narrow(0, labelled, rest)).square().mean();
  return {of_labelled + ramp * options.unlabelled_weight * of_unlabelled, logits.narrow(0, 0, labelled)};
}

at::Tensor repeated_to(const at::Tensor& positions, std::int64_t count) {
  const std::int64_t repeats = (count + positions.numel() - 1) / positions.numel();
  return positions.repeat({std::max<std::int64_t>(1, repeats)});
}

at::Tensor drawn_from(const at::Tensor& positions, std::int64_t count) {
  return positions.index_select(0, torch::randint(positions.numel(), {count}, torch::kLong));
}

at::Tensor symmetric_cross_entropy(const at::Tensor& logits, const at::Tensor& labels) {
  const at::Tensor log_p = logits.log_softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1);
  // The label's own log is 0, so that only the other classes count.
  const at::Tensor reverse = -log_of_zero * (1 - log_p.exp());
  return cross_entropy_weight * -log_p + reverse;
}

}  // namespace mcci
