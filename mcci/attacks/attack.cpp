#include "mcci/attacks/attack.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "mcci/attacks/covers.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/random.hpp"

namespace mcci {

std::string to_string(Role role) {
  switch (role) {
    case Role::clean:
      return "clean";
    case Role::poison:
      return "poison";
    case Role::cover:
      return "cover";
  }
  throw Error(ErrorKind::internal, "there is no such role", "to_string");
}

std::string to_string(RateOf rate_of) { return rate_of == RateOf::whole_set ? "whole_set" : "target_class"; }

std::int64_t PoisonPlan::count(Role role) const { return std::count(roles.begin(), roles.end(), role); }

void Attack::prepare(const PrepareContext&) {}

PoisonPlan Attack::plan(const at::Tensor& labels, std::int64_t num_classes,
                        const PlanOptions& options) const {
  if (!(options.rate >= 0 && options.rate <= 1)) {
    throw Error(ErrorKind::usage, "the poison rate is " + std::to_string(options.rate), "rate",
                "give a share between 0 and 1");
  }
  const at::Tensor wanted = attack_labels(*this, labels, num_classes);
  const at::Tensor of_target_class = at::nonzero(labels == wanted).flatten();
  const at::Tensor candidates = clean_label() ? of_target_class : at::arange(labels.numel());

  const std::int64_t base = options.rate_of == RateOf::whole_set ? labels.numel() : of_target_class.numel();
  const std::int64_t count = std::llround(options.rate * static_cast<double>(base));
  if (options.rate > 0 && options.rate_of == RateOf::target_class && base == 0) {
    throw Error(ErrorKind::usage, "the rate is a share of the target class, which has no images", "rate-of",
                "choose another target class, or count the rate of the whole set");
  }
  if (count > candidates.numel()) {
    throw Error(ErrorKind::usage,
                "the rate asks for " + std::to_string(count) +
                    " poisoned images, but a clean-label attack has only " +
                    std::to_string(candidates.numel()) + " images of its target class",
                "rate", "lower the rate, or count it of the target class");
  }

  PoisonPlan plan{std::vector<Role>(static_cast<std::size_t>(labels.numel()), Role::clean), labels.clone()};
  Rng rng(derive_seed(options.seed, "poison plan"));
  const auto candidate = candidates.accessor<std::int64_t, 1>();
  const auto attacker_label = wanted.accessor<std::int64_t, 1>();
  auto recorded_label = plan.labels.accessor<std::int64_t, 1>();
  for (const std::int64_t pick : rng.choose(candidates.numel(), count)) {
    const std::int64_t index = candidate[pick];
    plan.roles[static_cast<std::size_t>(index)] = Role::poison;
    recorded_label[index] = attacker_label[index];
  }
  add_covers(plan, covers(plan), options.seed);
  return plan;
}

std::int64_t Attack::covers(const PoisonPlan&) const { return 0; }

at::Tensor Attack::attack_labels_of(const at::Tensor& labels, const at::Tensor&,
                                    std::int64_t num_classes) const {
  return attack_labels(*this, labels, num_classes);
}

at::Tensor Attack::apply_cover(const at::Tensor& images, const at::Tensor& indices,
                               const at::Tensor& labels) const {
  return apply(images, indices, labels, Stage::train);
}

at::Tensor attack_labels(const Attack& attack, const at::Tensor& labels, std::int64_t num_classes) {
  std::vector<std::int64_t> of_class;
  for (std::int64_t c = 0; c < num_classes; ++c) of_class.push_back(attack.attack_label(c, num_classes));
  return at::tensor(of_class, at::kLong).index_select(0, labels);
}

TriggeredBatch trigger_batch(const Attack& attack, const at::Tensor& images, const at::Tensor& indices,
                             const at::Tensor& labels, std::int64_t num_classes) {
  return {attack.apply(images, indices, labels, Stage::test), labels,
          attack.attack_labels_of(labels, indices, num_classes)};
}

}  // namespace mcci
