#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "mcci/baselines/backbone_defense.hpp"
#include "mcci/baselines/mixmatch.hpp"

namespace mcci {

// A defense that ends with MixMatch: the labels of some samples are trusted, those of the others not looked
// at.
class SemiSupervisedDefense : public BackboneDefense {
 public:
  DatasetPtr source(std::size_t phase, const DatasetPtr& data) override;

 protected:
  // An epoch of MixMatch draws so many images of the labelled pool, once for each labelled one an unlabelled
  // one.
  Phase semi_supervised_phase(const std::string& name, std::int64_t epochs, const TrainOptions& options);
  // Positions in source(): whose labels are trusted and whose are not, [M] int64, from now on; and how far
  // the weight of the unlabelled part has been ramped up, 0 .. 1.
  void trust(const at::Tensor& labelled, const at::Tensor& unlabelled, double ramp);
  at::Tensor labelled_pool() const { return repeated_to(labelled_, mixmatch_.epoch_images); }
  StepOutput semi_supervised_loss(const Batch& batch);
  // Symmetric cross entropy of each sample's recorded label under `network`, which is put in evaluation mode:
  // [N] float32 on the CPU.
  at::Tensor symmetric_losses(Backbone& network, const DatasetPtr& data) const;

  SampleState sample_state() override;

  MixMatchOptions mixmatch_;

 private:
  DatasetPtr data_;
  ViewOptions views_;
  at::Tensor labelled_;    // [M] int64 on the CPU
  at::Tensor unlabelled_;  // likewise
  at::Tensor ramp_;        // scalar
};

}  // namespace mcci
