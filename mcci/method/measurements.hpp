#pragma once

#include <array>
#include <cstddef>

#include <torch/types.h>

#include "mcci/data/dataset.hpp"

namespace mcci {

// In what an attack may set images apart: which frequencies they have, what they show where, and which
// levels their pixels take.
enum View : std::size_t { spectra, pixels, levels, views };
using Measurements = std::array<torch::Tensor, views>;  // [n, D] float32 each

// positions [n] int64 in the data set -> on the CPU: spectra and pixels of the images pooled to 64 pixels a
// side at most, one column for each channel and place; for each channel and level the root of the share of
// its pixels.
Measurements measurements(const DatasetPtr& data, const torch::Tensor& positions);

// Of some of the samples: chosen [m] int64, rows.
Measurements rows_of(const Measurements& all, const torch::Tensor& chosen);

}  // namespace mcci
