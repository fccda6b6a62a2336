#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace mcci {

// One seed from the run's seed, the name of what it is for ("shuffle", "augment", ...) and any counters
// (rank, epoch, index). Independent streams without state to save: resuming at step k needs only k.
std::uint64_t derive_seed(std::uint64_t seed, std::string_view purpose,
                          std::initializer_list<std::uint64_t> counters = {});

// A small generator whose numbers are the same on every platform and standard library (SplitMix64; the
// distributions of <random> are not portable).
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next();
  double uniform();                         // [0, 1)
  double uniform(double low, double high);  // [low, high)
  std::int64_t below(std::int64_t bound);   // [0, bound), unbiased; requires bound > 0
  double normal();                          // mean 0, deviation 1 (equal up to the platform's log and cos)
  bool chance(double p) { return uniform() < p; }

  // A uniformly random order of 0 .. n-1.
  std::vector<std::int64_t> permutation(std::int64_t n);
  // k of 0 .. n-1 without replacement, in random order; requires 0 <= k <= n.
  std::vector<std::int64_t> choose(std::int64_t n, std::int64_t k);

 private:
  std::uint64_t state_;
};

}  // namespace mcci
