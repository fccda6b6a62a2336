#include "mcci/attacks/attack_spec.hpp"

#include <algorithm>
#include <vector>

#include "mcci/core/error.hpp"

namespace mcci {

namespace {

struct ConfiguredAttack {
  std::unique_ptr<Attack> attack;
  Json options;
};

ConfiguredAttack configure(const AttackSpec& spec) {
  std::unique_ptr<Attack> attack = attacks().at(spec.name)();
  OptionSet set;
  attack->declare(set);
  set.assign_json(attack->presets().at(spec.preset), Origin::preset,
                  "preset " + spec.preset + " of " + spec.name);
  set.assign_json(spec.options, Origin::config_file, "options of " + spec.name);
  return {std::move(attack), set.to_json()};
}

RateOf rate_of_named(const std::string& name, const std::string& where) {
  for (const RateOf rate_of : {RateOf::whole_set, RateOf::target_class}) {
    if (to_string(rate_of) == name) return rate_of;
  }
  throw Error(ErrorKind::data, "the key 'rate_of' cannot be '" + name + "'", where,
              "use whole_set or target_class");
}

}  // namespace

Json AttackSpec::to_json() const {
  return {{"name", name},
          {"preset", preset},
          {"options", options},
          {"rate", plan.rate},
          {"rate_of", to_string(plan.rate_of)},
          {"seed", plan.seed}};
}

AttackSpec AttackSpec::from_json(const Json& json, const std::string& where) {
  if (!json.is_object()) throw Error(ErrorKind::data, "an attack must be a JSON object", where);
  static const std::vector<std::string> keys{"name", "preset", "options", "rate", "rate_of", "seed"};
  for (const auto& [key, value] : json.items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      throw Error(ErrorKind::data, "an attack has no key '" + key + "'", where,
                  "use " + candidates(key, keys));
    }
  }

  AttackSpec spec;
  if (json.contains("name")) spec.name = json_at<std::string>(json, "name", where);
  if (json.contains("preset")) spec.preset = json_at<std::string>(json, "preset", where);
  if (json.contains("options")) spec.options = json.at("options");
  if (!spec.options.is_object()) throw Error(ErrorKind::data, "the key 'options' must be an object", where);
  if (json.contains("rate")) spec.plan.rate = json_at<double>(json, "rate", where);
  if (!(spec.plan.rate >= 0 && spec.plan.rate <= 1)) {
    throw Error(ErrorKind::data, "the key 'rate' must be between 0 and 1", where);
  }
  if (json.contains("rate_of")) {
    spec.plan.rate_of = rate_of_named(json_at<std::string>(json, "rate_of", where), where);
  }
  if (json.contains("seed")) spec.plan.seed = json_at<std::uint64_t>(json, "seed", where);
  return spec;
}

std::unique_ptr<Attack> make_attack(const AttackSpec& spec) { return configure(spec).attack; }

AttackSpec resolve(const AttackSpec& spec) {
  AttackSpec resolved = spec;
  resolved.options = configure(spec).options;
  return resolved;
}

}  // namespace mcci
