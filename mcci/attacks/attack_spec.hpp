#pragma once

#include <memory>
#include <string>

#include "mcci/attacks/attack.hpp"
#include "mcci/core/json.hpp"

namespace mcci {

// An attack with its options set: what a manifest records and a grid cell names.
struct AttackSpec {
  std::string name = "badnets";
  std::string preset = "backdoorbench";
  Json options = Json::object();  // overrides of the preset, by option name
  PlanOptions plan;

  // {"name", "preset", "options", "rate", "rate_of", "seed"}
  Json to_json() const;
  // Keys that are left out keep their defaults. The names of attack, preset and options are checked by
  // make_attack. Errors: data for an unknown key, a wrong type or a rate outside [0,1]; `where` names the
  // file.
  static AttackSpec from_json(const Json& json, const std::string& where);
};

// The attack named in `spec` with preset and overrides applied (not yet prepared).
// Errors: usage for unknown names, presets and options, listing the candidates, and for values out of range.
std::unique_ptr<Attack> make_attack(const AttackSpec& spec);

// `spec` with every option of its attack written out. Errors: as make_attack.
AttackSpec resolve(const AttackSpec& spec);

}  // namespace mcci
