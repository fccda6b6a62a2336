#include "mcci/train/adadelta.hpp"

#include <cmath>

namespace mcci {

void adadelta_step(float* parameter, const float* gradient, float* square_average, float* accumulated_delta,
                   std::int64_t n, float weight_decay, float rate) {
  constexpr float rho = static_cast<float>(adadelta_rho);
  constexpr float epsilon = static_cast<float>(adadelta_epsilon);
  constexpr std::int64_t worth_a_second_thread = 32768;
#pragma omp parallel for simd if (n > worth_a_second_thread)
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] + weight_decay * parameter[i];
    square_average[i] = rho * square_average[i] + (1 - rho) * g * g;
    const float delta = std::sqrt((accumulated_delta[i] + epsilon) / (square_average[i] + epsilon)) * g;
    accumulated_delta[i] = rho * accumulated_delta[i] + (1 - rho) * delta * delta;
    parameter[i] -= rate * delta;
  }
}

}  // namespace mcci
