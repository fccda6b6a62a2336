#pragma once

#include "mcci/core/json.hpp"
#include "mcci/runtime/compute.hpp"

namespace mcci {

// What a figure depends on besides its seed: versions, processor, threads, precision, memory layout.
Json environment(const Compute& compute);

}  // namespace mcci
