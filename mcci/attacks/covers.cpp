#include "mcci/attacks/covers.hpp"

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"

namespace mcci {

void add_covers(PoisonPlan& plan, std::int64_t count, std::uint64_t seed) {
  std::vector<std::size_t> clean;
  for (std::size_t i = 0; i < plan.roles.size(); ++i) {
    if (plan.roles[i] == Role::clean) clean.push_back(i);
  }
  const auto available = static_cast<std::int64_t>(clean.size());
  if (count > available) {
    throw Error(ErrorKind::usage,
                "the attack asks for " + std::to_string(count) + " cover samples, but only " +
                    std::to_string(available) + " of " + std::to_string(plan.roles.size()) +
                    " samples are left clean",
                "rate", "lower the poison rate or the share of cover samples");
  }
  Rng rng(derive_seed(seed, "cover plan"));
  for (const std::int64_t pick : rng.choose(available, count)) {
    plan.roles[clean[static_cast<std::size_t>(pick)]] = Role::cover;
  }
}

std::int64_t covers_in_ratio(const PoisonPlan& plan, double ratio) {
  return std::llround(ratio * static_cast<double>(plan.count(Role::poison)));
}

void declare_cover_ratio(OptionSet& set, double& ratio) {
  set.add("cover-ratio", ratio, "cover samples per poisoned sample", {0, 1000});
}

at::Tensor other_samples(const at::Tensor& indices, std::int64_t size, std::uint64_t seed,
                         std::string_view purpose) {
  at::Tensor others = at::empty_like(indices);
  for (std::int64_t b = 0; b < indices.numel(); ++b) {
    const auto index = indices[b].item<std::int64_t>();
    Rng rng(derive_seed(seed, purpose, {static_cast<std::uint64_t>(index)}));
    const std::int64_t pick = rng.below(size - 1);
    others[b] = pick < index ? pick : pick + 1;
  }
  return others;
}

}  // namespace mcci
