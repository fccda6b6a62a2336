#include "mcci/attacks/adversarial.hpp"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/attacks/learned.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/core/progress.hpp"
#include "mcci/core/random.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/runtime/compute.hpp"

namespace mcci {

namespace {

constexpr std::int64_t batch_size = 256;
constexpr std::int64_t patience = 5;

// An independent copy whose gradient can be asked for.
at::Tensor leaf(const at::Tensor& values) { return values.detach().clone().set_requires_grad(true); }

// [B,C,H,W] -> [B,1,1,1], above zero.
at::Tensor lengths(const at::Tensor& images) {
  return images.square().sum({1, 2, 3}, /*keepdim=*/true).sqrt().clamp_min(1e-12);
}

std::int64_t prediction(const Classifier& model, const at::Tensor& image) {
  const at::NoGradGuard no_grad;
  return model(image).argmax(1).item<std::int64_t>();
}

}  // namespace

Classifier classifier_of(const std::shared_ptr<Backbone>& model) {
  return [model, compute = attack_compute()](const at::Tensor& images) {
    return model->forward(place(images, compute)).to(at::kCPU);
  };
}

at::Tensor projected_gradient(const Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                              const ProjectedGradientOptions& options) {
  at::Tensor adversarial = images;
  for (std::int64_t step = 0; step < options.steps; ++step) {
    const at::Tensor x = leaf(adversarial);
    at::cross_entropy_loss(model(x), labels, {}, at::Reduction::Sum).backward();
    at::Tensor change = x.detach() - images;
    if (options.norm == Norm::linf) {
      change = (change + options.alpha * x.grad().sign()).clamp(-options.eps, options.eps);
    } else {
      change = change + options.alpha * x.grad() / lengths(x.grad());
      change = change * (options.eps / lengths(change)).clamp_max(1);
    }
    adversarial = (images + change).clamp(0, 1);
  }
  return adversarial;
}

DeepFoolResult targeted_deepfool(const Classifier& model, const at::Tensor& image, std::int64_t target,
                                 const DeepFoolOptions& options, const PerturbationMap& subspace) {
  // Logits that are equal leave the prediction open.
  constexpr double margin = 1e-4;
  DeepFoolResult result{at::zeros_like(image), false};
  for (std::int64_t step = 0; step <= options.steps; ++step) {
    const at::Tensor x = leaf(image + result.perturbation);
    const at::Tensor logits = model(x)[0];
    const std::int64_t predicted = logits.argmax().item<std::int64_t>();
    result.reached = predicted == target;
    if (result.reached || step == options.steps) break;
    const at::Tensor gap = logits[predicted] - logits[target];
    gap.backward();
    const at::Tensor normal = subspace ? subspace(x.grad()) : x.grad();
    const double square = normal.square().sum().item<double>();
    if (!(square > 0)) break;
    const double length = (gap.item<double>() + margin) / square;
    result.perturbation = result.perturbation - (1 + options.overshoot) * length * normal;
  }
  return result;
}

void UniversalOptions::declare(OptionSet& set) {
  set.add("deepfool-steps", deepfool.steps, "of DeepFool, for each image", {1, 10000});
  set.add("overshoot", deepfool.overshoot, "how far beyond the decision boundary DeepFool goes", {0, 10});
  set.add("target-rate", target_rate, "share of images taken for the target at which learning ends", {0, 1});
  set.add("passes", passes, "over the images, at most", {1, 10000});
}

Json UniversalOptions::to_json() const {
  return {{"deepfool-steps", deepfool.steps},
          {"overshoot", deepfool.overshoot},
          {"target-rate", target_rate},
          {"passes", passes}};
}

at::Tensor universal_perturbation(const UniversalProblem& problem, const UniversalOptions& options) {
  const std::int64_t count = problem.images.size(0);
  at::Tensor perturbation = at::zeros_like(problem.images.narrow(0, 0, 1), at::kFloat);
  at::Tensor best = perturbation;
  double best_rate = -1;
  std::int64_t best_pass = 1;
  Progress progress(problem.title + ", universal perturbation", options.passes * count, "images");
  for (std::int64_t pass = 1; pass <= std::min(options.passes, best_pass + patience); ++pass) {
    Rng rng(derive_seed(problem.seed, "universal perturbation", {static_cast<std::uint64_t>(pass)}));
    for (const std::int64_t i : rng.permutation(count)) {
      if (interrupt_requested()) throw Error(ErrorKind::interrupted, "stopped while learning a trigger");
      progress.advance();
      const at::Tensor perturbed = (to_unit(problem.images.narrow(0, i, 1)) + perturbation).clamp(0, 1);
      if (prediction(problem.model, perturbed) == problem.target) continue;
      const DeepFoolResult found =
          targeted_deepfool(problem.model, perturbed, problem.target, options.deepfool, problem.subspace);
      if (found.reached) perturbation = problem.constraint(perturbation + found.perturbation);
    }
    const double rate = target_rate(problem.model, problem.images, perturbation, problem.target);
    if (rate > best_rate) {
      best = perturbation;
      best_rate = rate;
      best_pass = pass;
      progress.set_note("target rate " + std::to_string(rate));
    }
    if (best_rate >= options.target_rate) break;
  }
  if (!best.any().item<bool>()) {
    throw Error(ErrorKind::data,
                "the surrogate takes every image for the target class, or none, whatever is added to it",
                problem.title,
                "train the surrogate for longer (surrogate-epochs), or take another target class");
  }
  return best;
}

double target_rate(const Classifier& model, const at::Tensor& images, const at::Tensor& perturbation,
                   std::int64_t target) {
  const at::NoGradGuard no_grad;
  std::int64_t hits = 0;
  for (std::int64_t at = 0; at < images.size(0); at += batch_size) {
    const at::Tensor batch = images.narrow(0, at, std::min(batch_size, images.size(0) - at));
    const at::Tensor predicted = model((to_unit(batch) + perturbation).clamp(0, 1)).argmax(1);
    hits += predicted.eq(target).sum().item<std::int64_t>();
  }
  return static_cast<double>(hits) / static_cast<double>(images.size(0));
}

at::Tensor images_of_other_classes(const Dataset& data, std::int64_t target, std::int64_t count,
                                   std::uint64_t seed) {
  const at::Tensor others = at::nonzero(data.labels() != target).flatten();
  if (others.numel() == 0) {
    throw Error(ErrorKind::data, "all images are of the target class", "target-class",
                "a trigger is learned on images of other classes");
  }
  Rng rng(derive_seed(seed, "images of other classes"));
  const std::vector<std::int64_t> picks = rng.choose(others.numel(), std::min(count, others.numel()));
  return data.images(others.index_select(0, at::tensor(picks, at::kLong)));
}

at::Tensor add_grey_levels(const at::Tensor& images, const at::Tensor& levels) {
  return (images.to(at::kShort) + levels.to(at::kShort)).clamp(0, 255).to(at::kByte);
}

}  // namespace mcci
