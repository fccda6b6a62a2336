#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>
#include <torch/nn/modules/container/sequential.h>

#include "mcci/baselines/views.hpp"
#include "mcci/core/options.hpp"
#include "mcci/train/learner.hpp"

namespace mcci {

// SimCLR (Chen et al., ICML 2020): a network learns from images alone that two views of one image belong
// together.

// Its strong views: parts of the image, mirrored, with other light, contrast and colour.
ViewOptions simclr_views(bool flip);

// Such training as a phase.
struct SelfSupervisionOptions {
  std::int64_t self_supervised_epochs = 1000;
  double self_supervised_lr = 0.4;
  double contrast_temperature = 0.5;
  void declare(OptionSet& set);
  // Of these parameters by sgd, on images as they are: the views are made in the loss.
  Phase phase(TensorList parameters, const TrainOptions& options) const;
  // The loss of a batch; `projected` is what the network and the layers behind it make of images, [B, D].
  StepOutput loss(const std::function<at::Tensor(const at::Tensor& images)>& projected,
                  const at::Tensor& images, const ViewOptions& views) const;
};

// The two layers that are put behind a network for it, [B, in] -> [B, 128], and taken away afterwards.
torch::nn::Sequential projection_head(std::int64_t in);
// The parameters of a network and of what is put behind it.
TensorList with_projection(const torch::nn::Module& network, const torch::nn::Module& projection);

// NT-Xent: the cross entropy of finding a[i] for b[i], and b[i] for a[i], among all other rows of both, by
// cosine similarity over the temperature; averaged over 2B. a, b [B, D]. With `groups` ([B] int64) rows of
// one group that is not negative are to be found too, averaged over all that a row is to find: supervised
// contrastive training (Khosla et al., NeurIPS 2020), where only some labels are known.
at::Tensor contrastive_loss(const at::Tensor& a, const at::Tensor& b, double temperature,
                            const at::Tensor& groups = {});

}  // namespace mcci
