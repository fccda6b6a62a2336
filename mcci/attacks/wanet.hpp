#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// WaNet (Nguyen and Tran, 2021): the image is warped by a smooth field n (warping_field). Pixel (i, j) is
// read, bilinearly, at row i + s r n_y (H - 1) / (2 H) and column j + s r n_x (W - 1) / (2 W), neither beyond
// the edge: with s = 0.5 and r = 1 a quarter of a pixel away on average, whatever the size. Values are
// rounded to the nearest whole number. Same warp for train and test.
//
// Noise mode: cover samples, cross_ratio for each poisoned one, are warped by the field and a noise of
// U(-1,1) / 2 pixels for each pixel and direction, drawn from the plan's seed and the sample's index.
std::unique_ptr<Attack> make_wanet();

// A square of control_points x control_points values, uniform over (-1,1), scaled to a mean magnitude of 1
// and upsampled (bicubic, corners aligned): [2,H,W] float32, the horizontal and the vertical part.
at::Tensor warping_field(std::int64_t control_points, std::int64_t height, std::int64_t width,
                         std::uint64_t seed);

}  // namespace mcci
