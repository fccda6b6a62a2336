#pragma once

#include <cstdint>

namespace mcci {

// One step of Adadelta (Zeiler 2012, rho 0.9, epsilon 1e-6) on n values in one pass, where tensor operations
// would take twelve. As many threads as OpenMP's current count; the result does not depend on it.
void adadelta_step(float* parameter, const float* gradient, float* square_average, float* accumulated_delta,
                   std::int64_t n, float weight_decay, float rate);

}  // namespace mcci
