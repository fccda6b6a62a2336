#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// ISSBA, also known as SSBA (Li et al., 2021): an encoder, trained together with a decoder as in StegaStamp
// (Tancik et al., 2020), hides a secret of 20 bits in an image by adding a residual that differs from image
// to image; clipped to 0 .. 255 and rounded. One secret for all images. Same trigger for train and test.
//
// Training: 2 MSE + 1.5 (1 - SSIM) + 1.5 BCE of the bits read back, the first epochs on the bits alone, a new
// random secret for each image and step, on the training images. The original has LPIPS, which needs weights
// trained on photographs, where this has structural similarity (Wang et al., 2004; uniform 7x7 windows).
// The artifacts, issba.safetensors, hold the encoder (encoder.*) and the decoder (decoder.*, a resnet8 of
// width 16 with an output for each bit).
std::unique_ptr<Attack> make_issba();

// The secret of an attack whose plan has this seed: [bits] float32, each 0 or 1.
at::Tensor issba_secret(std::int64_t bits, std::uint64_t seed);

}  // namespace mcci
