#pragma once

#include <cstdint>

namespace mcci {

constexpr double adadelta_rho = 0.9;       // Zeiler 2012: how much of either average a step keeps
constexpr double adadelta_epsilon = 1e-6;  // and what keeps their roots from zero

// One step of Adadelta on n values in one pass, where tensor operations
// would take twelve. As many threads as OpenMP's current count; the result does not depend on it.
void adadelta_step(float* parameter, const float* gradient, float* square_average, float* accumulated_delta,
                   std::int64_t n, float weight_decay, float rate);

}  // namespace mcci
