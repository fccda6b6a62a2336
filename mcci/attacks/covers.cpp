#include "mcci/attacks/covers.hpp"

#include <cstddef>
#include <string>
#include <vector>

#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"

namespace mcci {

void add_covers(PoisonPlan& plan, std::int64_t count, std::uint64_t seed, const char* attack_name) {
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
                attack_name, "lower the poison rate or the share of cover samples");
  }
  Rng rng(derive_seed(seed, "cover plan"));
  for (const std::int64_t pick : rng.choose(available, count)) {
    plan.roles[clean[static_cast<std::size_t>(pick)]] = Role::cover;
  }
}

}  // namespace mcci
