#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "mcci/core/options.hpp"
#include "mcci/data/dataset.hpp"
#include "mcci/nn/backbone.hpp"

// Perturbations that lead a classifier astray: of one image, or one for all. Pixels are in [0,1] here.
namespace mcci {

// images [B,C,H,W] float32 in [0,1] on the CPU -> logits [B, classes] float32 on the CPU, differentiable in
// the images.
using Classifier = std::function<at::Tensor(const at::Tensor& images)>;
// `model` is on the device of attack_compute(), in evaluation mode: see surrogate().
Classifier classifier_of(const std::shared_ptr<Backbone>& model);

// In which a perturbation is small: its largest value, or its length.
enum class Norm { linf, l2 };

struct ProjectedGradientOptions {
  Norm norm = Norm::linf;
  double eps = 8.0 / 255;    // largest norm of the perturbation
  double alpha = 1.5 / 255;  // norm of a step
  std::int64_t steps = 100;
};

// Projected gradient descent (Madry et al., 2018) from the images themselves, untargeted: `steps` times
// x += alpha times the direction of norm 1 in which the cross entropy of `labels` grows fastest (the sign of
// its gradient, or the gradient over its length), projected into the ball of radius eps around `images` and
// into [0,1]. images [B,C,H,W] float32, labels [B] int64 -> [B,C,H,W] float32.
at::Tensor projected_gradient(const Classifier& model, const at::Tensor& images, const at::Tensor& labels,
                              const ProjectedGradientOptions& options);

// A map of perturbations [1,C,H,W] float32, e.g. into a subspace.
using PerturbationMap = std::function<at::Tensor(const at::Tensor& perturbation)>;

struct DeepFoolOptions {
  std::int64_t steps = 50;
  double overshoot = 0.02;
};

struct DeepFoolResult {
  at::Tensor perturbation;  // [1,C,H,W] float32, the overshoot included
  bool reached = false;     // the target class
};

// The targeted form of DeepFool (Moosavi-Dezfooli et al., 2016): in each step the smallest perturbation, to
// first order, that makes the target's logit equal to that of the class predicted now. With `subspace`, an
// orthogonal projection, the smallest one within that subspace. image [1,C,H,W] float32.
DeepFoolResult targeted_deepfool(const Classifier& model, const at::Tensor& image, std::int64_t target,
                                 const DeepFoolOptions& options, const PerturbationMap& subspace);

struct UniversalOptions {
  DeepFoolOptions deepfool;
  double target_rate = 0.8;
  std::int64_t passes = 50;
  void declare(OptionSet& set);  // deepfool-steps, overshoot, target-rate, passes
  Json to_json() const;          // for a recipe
};

struct UniversalProblem {
  Classifier model;
  at::Tensor images;  // [N,C,H,W] uint8, N >= 1: those to learn from
  std::int64_t target = 0;
  std::uint64_t seed = 0;
  std::string title;
  PerturbationMap subspace;    // see targeted_deepfool
  PerturbationMap constraint;  // after every update: onto what a perturbation may be
};

// One perturbation that turns images into the target class, the targeted form of Moosavi-Dezfooli et al.
// (2017): in every pass over the images, shuffled, each that is not yet taken for the target adds its
// DeepFool perturbation to the common one, if DeepFool reached the target. It ends when the share of images
// taken for the target is options.target_rate, when five passes have brought nothing, or after
// options.passes, and returns what the best pass ended with: [1,C,H,W] float32. Shows progress.
// Errors: data if DeepFool never reached the target class or was never needed; interrupted.
at::Tensor universal_perturbation(const UniversalProblem& problem, const UniversalOptions& options);

// The share of `images` [N,C,H,W] uint8 that the model takes for the target with the perturbation added and
// the sum clipped to [0,1].
double target_rate(const Classifier& model, const at::Tensor& images, const at::Tensor& perturbation,
                   std::int64_t target);

// `count` images of the set, or all there are, drawn by seed among those not of class `target`:
// [N,C,H,W] uint8. Errors: data if all images are of that class.
at::Tensor images_of_other_classes(const Dataset& data, std::int64_t target, std::int64_t count,
                                   std::uint64_t seed);

// images [B,C,H,W] uint8 plus grey levels, a tensor of whole numbers of any shape that fits, cut to 0 .. 255.
at::Tensor add_grey_levels(const at::Tensor& images, const at::Tensor& levels);

}  // namespace mcci
