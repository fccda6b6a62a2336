// Uses mcci as a library: the spectrum of a batch of images, and a backbone applied to them.
#include <cstdlib>
#include <exception>
#include <iostream>

#include <ATen/ATen.h>

#include "mcci/core/version.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/signal/dct.hpp"

int main() {
  try {
    std::cout << "mcci " << mcci::version() << '\n';

    const at::Tensor images = at::rand({4, 3, 32, 32});  // [B,C,H,W] float32 in [0,1]
    const at::Tensor spectra = mcci::dct2(images);
    const double error = (mcci::idct2(spectra) - images).abs().max().item<double>();
    std::cout << "spectra " << spectra.sizes() << ", largest error of the inverse " << error << '\n';

    mcci::BackboneConfig config;
    config.name = "resnet8";
    config.outputs = 10;
    config.width = 16;
    const auto network = mcci::make_backbone(config);
    network->eval();
    const at::Tensor logits = network->forward(images);
    std::cout << config.name << " logits " << logits.sizes() << '\n';

    const bool as_expected = error < 1e-5 && logits.sizes() == at::IntArrayRef({4, 10});
    return as_expected ? EXIT_SUCCESS : EXIT_FAILURE;
  } catch (const std::exception& problem) {
    std::cerr << problem.what() << '\n';
    return EXIT_FAILURE;
  }
}
