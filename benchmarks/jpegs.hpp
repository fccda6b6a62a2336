#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mcci/data/dataset.hpp"

namespace mcci::benchmarks {

// Photographs as far as a decoder cares: 500x375 pixels, quality 92, each about 55 KB.
std::vector<std::string> jpeg_files(std::size_t count);

// A data set of such files in a temporary folder, fitted to size x size when asked for. The folder is removed
// at exit.
DatasetPtr jpeg_dataset(std::int64_t size);

}  // namespace mcci::benchmarks
