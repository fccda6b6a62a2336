#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "mcci/train/defense.hpp"
#include "mcci/train/optimizer.hpp"

namespace mcci::benchmarks {

// What the trainer does with one batch, under the preset `paper` with ResNet-18 on 3x32x32 images of ten
// classes.
class TrainingStep {
 public:
  // Errors: usage if the defense is neither mcci nor plain.
  TrainingStep(const std::string& defense, std::int64_t width, const Compute& compute);

  void run(const Batch& batch);

  Defense& defense() { return *defense_; }

 private:
  Compute compute_;
  std::unique_ptr<Defense> defense_;
  std::vector<Phase> phases_;
  std::unique_ptr<Optimizer> optimizer_;
};

// As a loader gives it.
Batch random_batch(std::int64_t images);

}  // namespace mcci::benchmarks
