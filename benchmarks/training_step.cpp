#include "benchmarks/training_step.hpp"

#include <ATen/ATen.h>

#include "mcci/baselines/plain.hpp"
#include "mcci/core/registry.hpp"
#include "mcci/method/mcci.hpp"

namespace mcci::benchmarks {

TrainingStep::TrainingStep(const std::string& defense, std::int64_t width, const Compute& compute)
    : compute_(compute) {
  static const Registry<std::unique_ptr<Defense> (*)()> known(
      "defense", {{"mcci", "SFRN and AIN together", make_mcci}, {"plain", "the SFRN alone", make_plain}});
  defense_ = known.at(defense)();
  TrainOptions options;
  OptionSet set;
  options.declare(set);
  defense_->declare(set);
  set.assign_json(defense_->presets().at("paper"), Origin::preset, "paper");
  Problem problem;
  problem.shape = {3, 32, 32};
  problem.num_classes = 10;
  problem.backbone.width = width;
  problem.compute = compute;
  defense_->build(problem);
  phases_ = defense_->phases(options);
  optimizer_ = make_optimizer(phases_.front().optimizer, phases_.front().parameters);
}

void TrainingStep::run(const Batch& batch) {
  Batch placed = batch;
  placed.images = place(batch.images, compute_);
  placed.labels = batch.labels.to(compute_.device);
  placed.indices = batch.indices.to(compute_.device);
  optimizer_->zero_grad();
  defense_->loss(0, placed).loss.backward();
  optimizer_->step(phases_.front().optimizer.lr);
}

Batch random_batch(std::int64_t images) {
  return {at::rand({images, 3, 32, 32}), at::randint(0, 10, {images}, at::kLong), at::arange(images)};
}

}  // namespace mcci::benchmarks
