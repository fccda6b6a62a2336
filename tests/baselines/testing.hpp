#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "mcci/train/defense.hpp"
#include "mcci/train/trainer.hpp"

namespace mcci::test {

// Grey images of 16x16 under noise. In each class another of four horizontal stripes is bright; poisoned
// images carry a white patch in the bottom-right corner and, if they had another, the label 0. At the usual
// contrast the patch is learned before the classes are.
struct PoisonedSet {
  DatasetPtr data;
  at::Tensor poisoned;     // [N] bool
  at::Tensor true_labels;  // [N] int64
  at::Tensor triggered;  // [M,1,16,16] float32: other images of the classes but the first, all with the patch
  at::Tensor triggered_labels;
};
// The first `poisons` samples that are not of class 0 are poisoned. The stripes are `contrast` grey levels
// bright.
PoisonedSet striped(std::int64_t n, std::int64_t poisons, std::int64_t contrast = 15);
// Likewise with a texture for each class, a grating of its direction, which parts of an image show as well:
// what can be learned without labels.
PoisonedSet textured(std::int64_t n, std::int64_t poisons);
// Likewise with a colour for each class and, in place of the patch, bright columns, whatever was there:
// turned or moved, an image keeps its meaning and loses its trigger.
PoisonedSet coloured(std::int64_t n, std::int64_t poisons);

// A trained defense on a set, with the options given and the preset `fast` beneath.
struct Trained {
  std::unique_ptr<Defense> defense;
  RunState state;
};
Trained train_defense(std::unique_ptr<Defense> defense, const DatasetPtr& data, const Json& options,
                      const DatasetPtr& clean = nullptr);

// Trained with three seeds. One training on so small a set goes wrong now and then, and with which seed
// depends on how the machine rounds: a defense's claim is tested by the median of its three trainings.
std::vector<Trained> train_thrice(const std::function<std::unique_ptr<Defense>()>& make,
                                  const DatasetPtr& data, Json options, const DatasetPtr& clean = nullptr);
using Measure = double (*)(Defense& defense, const PoisonedSet& set);
double median(const std::vector<Trained>& three, Measure measure, const PoisonedSet& set);

// Shares of triggered images that get the label 0, and their true label.
double attack_success(Defense& defense, const PoisonedSet& set);
double recovered(Defense& defense, const PoisonedSet& set);
// What it holds of each sample that it was trained on: [N] float32, suspicious from 0 on.
at::Tensor held_of_samples(Defense& defense);
// Share of the poisoned samples that the defense calls suspicious.
double poison_suspected(Defense& defense, const PoisonedSet& set);
// attack_success of plain training for five epochs: what a defense on this set is measured against.
double undefended_success(const PoisonedSet& set);
// Share of clean training images that get their label.
double clean_accuracy(Defense& defense, const PoisonedSet& set);

// Trains `make()` as a whole, and again with an interruption after each of `stops` steps; expects equal
// weights and state.
void expect_resumed_equals_whole(const std::function<std::unique_ptr<Defense>()>& make,
                                 const DatasetPtr& data, const Json& options, const std::vector<int>& stops,
                                 const DatasetPtr& clean = nullptr);

}  // namespace mcci::test
