#include "mcci/baselines/semi_supervised.hpp"

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/train/samples.hpp"

namespace mcci {
namespace {

constexpr double shift = 4;  // pixels

}  // namespace

DatasetPtr SemiSupervisedDefense::source(std::size_t /*phase*/, const DatasetPtr& data) {
  data_ = data;
  return data_;
}

Phase SemiSupervisedDefense::semi_supervised_phase(const std::string& name, std::int64_t epochs,
                                                   const TrainOptions& options) {
  Phase phase = make_phase(name, parameter_list(backbone()), options);
  phase.epochs = epochs;
  phase.images = mixmatch_.epoch_images;
  // The views are made in the loss, of images as they are.
  phase.augment = AugmentOptions::none();
  views_.flip = options.augment.flip;
  views_.shift = shift;
  return phase;
}

void SemiSupervisedDefense::trust(const at::Tensor& labelled, const at::Tensor& unlabelled, double ramp) {
  if (labelled.numel() == 0 || unlabelled.numel() == 0) {
    throw Error(ErrorKind::usage, "there must be samples whose labels are trusted, and others", "",
                "use a larger training set");
  }
  labelled_ = labelled.contiguous();
  unlabelled_ = unlabelled.contiguous();
  ramp_ = at::full({}, ramp, at::kDouble);
  log_info("labels trusted: " + std::to_string(labelled.numel()) +
           ", not looked at: " + std::to_string(unlabelled.numel()));
}

StepOutput SemiSupervisedDefense::semi_supervised_loss(const Batch& batch) {
  const at::Tensor unlabelled = to_unit(data_->images(drawn_from(unlabelled_, batch.labels.size(0))));
  const MixMatchBatch both = {batch.images, batch.labels, place(unlabelled, problem().compute)};
  return mixmatch_step([this](const at::Tensor& images) { return forward(backbone(), images); }, both,
                       mixmatch_, views_, ramp_.item<double>());
}

at::Tensor SemiSupervisedDefense::symmetric_losses(Backbone& network, const DatasetPtr& data) const {
  network.eval();
  const at::Tensor logits = of_every_sample(
      data, problem().compute, [&](const at::Tensor& images) { return forward(network, images); });
  return symmetric_cross_entropy(logits, data->labels());
}

SampleState SemiSupervisedDefense::sample_state() {
  SampleState state = BackboneDefense::sample_state();
  state.emplace_back("labelled", &labelled_);
  state.emplace_back("unlabelled", &unlabelled_);
  state.emplace_back("ramp", &ramp_);
  return state;
}

}  // namespace mcci
