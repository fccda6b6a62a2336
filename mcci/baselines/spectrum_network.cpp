#include "mcci/baselines/spectrum_network.hpp"

#include <algorithm>

#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/pooling.h>

#include "mcci/core/error.hpp"

namespace mcci {

SpectrumNetwork::SpectrumNetwork(const ImageShape& shape, std::int64_t width) {
  if (std::min(shape.height, shape.width) < 8) {
    throw Error(ErrorKind::usage, "images below 8x8 pixels are too small for the frequency detector");
  }
  layers_ = register_module("layers", torch::nn::Sequential());
  std::int64_t in = shape.channels;
  for (const double dropout : {0.2, 0.3, 0.4}) {
    for (int i = 0; i < 2; ++i) {
      layers_->push_back(torch::nn::Conv2d(torch::nn::Conv2dOptions(in, width, 3).padding(1).bias(false)));
      layers_->push_back(torch::nn::ELU());
      layers_->push_back(torch::nn::BatchNorm2d(width));
      in = width;
    }
    layers_->push_back(torch::nn::MaxPool2d(2));
    layers_->push_back(torch::nn::Dropout(dropout));
    width *= 2;
  }
  fc_ = register_module("fc", torch::nn::Linear(in * (shape.height / 8) * (shape.width / 8), 1));
}

at::Tensor SpectrumNetwork::forward(const at::Tensor& spectra) {
  return fc_(layers_->forward(spectra).contiguous().flatten(1)).squeeze(1);
}

}  // namespace mcci
