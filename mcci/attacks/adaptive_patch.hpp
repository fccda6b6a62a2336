#pragma once

#include <memory>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// Adaptive-Patch (Qi, Xie, Li, Mahloujifar, Mittal: Revisiting the Assumption of Latent Separability for
// Backdoor Defenses, ICLR 2023), with the parameters of the authors' Backdoor Toolbox: four triggers, of
// which a training sample shows one, drawn for each sample, blended in with its alpha (0.5, 0.2, 0.5, 0.3); a
// test image shows two of them at alpha 1. There are two cover samples for each poisoned one.
//
// The toolbox's pictures (phoenix, firefox, a BadNets patch, the Trojan square) are not free to ship. These
// stand in for them, with S = min(H,W), sides rounded and at least 1:
//
//   1  side 10 S / 32, bottom right: a disc of three coloured rings
//   2  side 10 S / 32, bottom left: a blue disc in an orange ring that is open at the upper right
//   3  side  4 S / 32, top left: a 4x4 chequerboard of black and white
//   4  side  8 S / 32, top right: fixed colour noise
//
// On grey images each pixel is the mean of its three colours. A pixel is x + alpha (p - x), rounded to the
// nearest whole number, halves to even.
std::unique_ptr<Attack> make_adaptive_patch();

}  // namespace mcci
