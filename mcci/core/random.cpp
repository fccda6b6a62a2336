#include "mcci/core/random.hpp"

#include <cmath>
#include <numeric>
#include <utility>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

constexpr std::uint64_t golden_gamma = 0x9e3779b97f4a7c15;

// SplitMix64's output function (Steele, Lea and Flood 2014): a bijection in which every input bit reaches
// every output bit.
std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

std::uint64_t derive_seed(std::uint64_t seed, std::string_view purpose,
                          std::initializer_list<std::uint64_t> counters) {
  std::uint64_t state = mix(seed + golden_gamma) ^ fnv1a(purpose);
  // Each counter is mixed first, so that neighbouring counters do not give neighbouring states.
  for (const std::uint64_t counter : counters) state = mix(state) ^ mix(counter + golden_gamma);
  return mix(state);
}

std::uint64_t Rng::next() { return mix(state_ += golden_gamma); }

double Rng::uniform() {
  return static_cast<double>(next() >> 11) * 0x1p-53;  // a double holds 53 bits
}

double Rng::uniform(double low, double high) {
  const double value = low + (high - low) * uniform();
  return value < high ? value : std::nextafter(high, low);  // the sum may round up to high
}

std::int64_t Rng::below(std::int64_t bound) {
  if (bound <= 0) throw Error(ErrorKind::internal, "Rng::below needs a bound above 0");
  const auto range = static_cast<std::uint64_t>(bound);
  // The lowest 2^64 mod range numbers are drawn again: what remains is a multiple of range.
  const std::uint64_t surplus = (0 - range) % range;
  for (;;) {
    const std::uint64_t number = next();
    if (number >= surplus) return static_cast<std::int64_t>(number % range);
  }
}

double Rng::normal() {
  // Box and Muller; the second number of the pair is not kept, so that the state is one integer.
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * 3.14159265358979323846 * uniform());
}

std::vector<std::int64_t> Rng::permutation(std::int64_t n) { return choose(n, n); }

std::vector<std::int64_t> Rng::choose(std::int64_t n, std::int64_t k) {
  if (k < 0 || k > n) throw Error(ErrorKind::internal, "Rng::choose needs 0 <= k <= n");
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::int64_t i = 0; i < k; ++i) {  // Fisher and Yates, stopped after k
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(i + below(n - i))]);
  }
  order.resize(static_cast<std::size_t>(k));
  return order;
}

}  // namespace mcci
