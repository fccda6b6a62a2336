#pragma once

#include <cstdint>

#include "mcci/data/dataset.hpp"

namespace mcci {

// The data set `procedural`: the scenes of scene.hpp, drawn when they are asked for; nothing is stored or
// downloaded. A sample depends on (seed, split, index) alone and has the class index mod 24, so every class
// is there equally often, in any run of neighbours too.
struct ProceduralOptions {
  std::uint64_t seed = 0;
  std::int64_t train_count = 48'000;  // 2,000 of each class
  std::int64_t test_count = 9'600;    // 400 of each class
};

// `options` give image_size (0: 32) and channels (0: 3). Errors: usage if the size is below min_scene_side or
// a count is below 1.
DatasetPtr make_procedural(Split split, const DatasetOptions& options = {},
                           const ProceduralOptions& procedural = {});

// Below it figures and textures are no longer to be told apart.
constexpr std::int64_t min_scene_side = 16;

}  // namespace mcci
