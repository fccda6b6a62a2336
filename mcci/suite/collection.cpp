#include "mcci/suite/collection.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>

#include "mcci/core/error.hpp"
#include "mcci/metrics/metrics.hpp"
#include "mcci/report/result.hpp"
#include "mcci/suite/figures.hpp"
#include "mcci/suite/result.hpp"

namespace mcci {
namespace {

double number_or_nan(const Json& cell, const std::string& key) {
  return cell.contains(key) && cell[key].is_number() ? cell[key].get<double>()
                                                     : std::numeric_limits<double>::quiet_NaN();
}

bool failed(const Json& cell) { return !cell.value("error", std::string()).empty(); }

// Where parts of a result were made in different places, all of them are named, each once.
constexpr std::string_view between_places = " | ";

std::string text_of_places(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::vector<std::string> places(const std::string& text) {
  std::vector<std::string> result;
  for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + between_places.size()) {
    end = text.find(between_places, begin);
    result.push_back(text.substr(begin, end - begin));
  }
  return result;
}

void add_environment(Json& environment, const Json& other) {
  for (const auto& [name, value] : other.items()) {
    if (!environment.contains(name)) {
      environment[name] = value;
    } else if (environment[name] != value) {
      std::string text = text_of_places(environment[name]);
      const std::vector<std::string> known = places(text);
      for (const std::string& place : places(text_of_places(value))) {
        if (std::find(known.begin(), known.end(), place) == known.end())
          text.append(between_places).append(place);
      }
      environment[name] = text;
    }
  }
}

// Options of the attack that are not its preset's, named as "attack.alpha".
void add_attack_options(Json& config, const Unit& unit) {
  if (unit.poisoned.empty()) return;
  AttackSpec preset = unit.attack;
  preset.options = Json::object();
  const Json usual = resolve(preset).options;
  for (const auto& [name, value] : unit.attack.options.items()) {
    if (value != usual.at(name)) config["attack." + name] = value;
  }
  if (unit.attack.plan.rate_of != RateOf::whole_set) config["rate-of"] = to_string(unit.attack.plan.rate_of);
}

Json cell_of(const Task& task, const Outcome& outcome) {
  const Unit& unit = task.unit;
  Json cell = new_cell();
  cell.update(outcome.cell);
  cell["id"] = unit.key;
  cell["error"] = outcome.error;
  cell["dataset"] = unit.dataset_label;
  cell["attack"] = unit.attack_label;
  cell["attack_preset"] = unit.poisoned.empty() ? "" : unit.attack.preset;
  if (unit.poisoned.empty()) {
    cell["rate"] = 0;
  } else if (cell["rate"].is_null() && unit.attack.plan.rate_of == RateOf::whole_set) {
    cell["rate"] = unit.attack.plan.rate;
  }
  cell["model"] = unit.model_label;
  cell["defense"] = unit.defense_label;
  cell["preset"] = unit.run.at("preset");
  cell["seed"] = unit.run.at("seed");
  // Paths in the folder of the grid say nothing to others.
  Json config = {{"data", unit.dataset_label}};
  config.update(unit.run);
  config.update(unit.dataset);
  if (unit.test_images > 0) config["test-images"] = unit.test_images;
  if (unit.perception != "clean") config["perception"] = unit.perception;
  add_attack_options(config, unit);
  cell["config"] = config;
  return cell;
}

// Results that were made before an oracle's ASR was measured have its PA alone.
constexpr std::array oracle_figures = {"oracle_asr", "oracle_pa"};

// What must be the same wherever a cell was computed; times and memory need not be.
Json figures_of(Json cell) {
  for (const char* key : {"seconds", "peak_memory_mib", "history"}) cell.erase(key);
  return cell;
}

}  // namespace

void relate(Json& cell, const Json* undefended, const Json* oracle) {
  if (undefended != nullptr) {
    const double asr = number_or_nan(*undefended, "asr");
    if (std::isfinite(asr)) cell["implanted"] = asr >= implanted_asr;
    if ((*undefended)["id"] != cell["id"]) {
      cell["der"] = number(defense_effectiveness(number_or_nan(*undefended, "ca"), asr,
                                                 number_or_nan(cell, "ca"), number_or_nan(cell, "asr")));
    }
  }
  if (oracle != nullptr && !failed(cell)) {
    for (const char* figure : oracle_figures) {
      if (!oracle->contains(figure)) continue;
      cell[figure] = oracle->at(figure);
      cell["counts"][figure] = oracle->at("counts").at(figure);
    }
    cell["pa_over_oracle"] = number(number_or_nan(cell, "pa") / number_or_nan(cell, "oracle_pa"));
  }
}

Json collect(const Plan& plan, const std::map<std::string, Outcome>& outcomes, const std::string& command,
             const Shard& shard) {
  Json result = new_result(plan.title, command, Compute{});
  result["environment"] = Json::object();
  result["grid"] = {{"cells", plan.cells}, {"shard", shard.text()}};
  Json figures = Json::object();
  std::map<std::string, Json> cells;  // all that are known, listed or not
  const auto outcome_of = [&](const std::string& key) -> const Outcome* {
    const auto found = outcomes.find(key);
    return found == outcomes.end() ? nullptr : &found->second;
  };
  for (const Task& task : plan.tasks) {
    const Outcome* outcome = outcome_of(task.unit.key);
    if (task.unit.kind != Unit::Kind::cell || outcome == nullptr) continue;
    Json cell = cell_of(task, *outcome);
    cells[task.unit.key] = cell;
    if (!task.listed) continue;
    const auto undefended = cells.find(task.undefended);
    const Outcome* oracle = outcome_of(task.oracle);
    relate(cell, undefended == cells.end() ? nullptr : &undefended->second,
           oracle == nullptr || !oracle->error.empty() ? nullptr : &oracle->cell);
    result["cells"].push_back(std::move(cell));
    append_figures(figures, outcome->figures);
    add_environment(result["environment"], outcome->environment);
  }
  result["figures"] = figures;
  return result;
}

std::map<std::string, Outcome> outcomes_of(const Plan& plan, const Json& result, const std::string& where) {
  report::parse_result(result, where);
  const Json environment = json_at<Json>(result, "environment", where);
  std::map<std::string, Json> cells;
  for (const Json& cell : json_at<Json>(result, "cells", where)) {
    if (!failed(cell)) cells.emplace(json_at<std::string>(cell, "id", where), cell);
  }
  std::map<std::string, Outcome> outcomes;
  for (const Task& task : plan.tasks) {
    const auto found = cells.find(task.unit.key);
    if (found == cells.end()) continue;
    const Json& cell = found->second;
    outcomes[task.unit.key] = {"", cell, Json::object(), environment, number_or_nan(cell, "seconds")};
    const Json counts = cell.value("counts", Json());
    if (task.oracle.empty() || !counts.contains("oracle_pa")) continue;
    Json oracle;
    for (const char* figure : oracle_figures) {
      if (!counts.contains(figure)) continue;
      oracle[figure] = cell.value(figure, Json());
      oracle["counts"][figure] = counts[figure];
    }
    outcomes[task.oracle] = {"", oracle, Json::object(), environment, 0};
  }
  return outcomes;
}

Json merge_results(const std::vector<Json>& results, const std::vector<std::string>& names,
                   const std::string& command) {
  Json merged;
  std::map<std::string, Json> cells;
  std::map<std::string, std::string> found_in;
  Json figures = Json::object();
  std::set<std::string> shards;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Json& result = results[i];
    const std::string& name = names.at(i);
    if (!result.contains("grid")) {
      throw Error(ErrorKind::usage, "this is not the result of a grid", name,
                  "name folders that mcci bench made");
    }
    if (i == 0) {
      merged = result;
    } else if (result["grid"].at("cells") != merged["grid"].at("cells")) {
      throw Error(ErrorKind::usage, "this is a part of another grid than " + names.front(), name,
                  "parts must come from one grid file, one version of mcci and the same data");
    }
    for (const Json& cell : json_at<Json>(result, "cells", name)) {
      const auto id = json_at<std::string>(cell, "id", name);
      const auto [place, is_new] = cells.emplace(id, cell);
      // Of a failure and a success the success counts.
      if (!is_new && failed(place->second)) place->second = cell;
      if (!is_new && !failed(cell) && figures_of(place->second) != figures_of(cell)) {
        throw Error(ErrorKind::usage, "it says something else of the cell " + id + " than " + found_in[id],
                    name, "leave one of them out");
      }
      found_in.emplace(id, name);
    }
    if (result.contains("figures")) append_figures(figures, result["figures"]);
    add_environment(merged["environment"], result.value("environment", Json::object()));
    shards.insert(result["grid"].value("shard", ""));
  }
  merged["command"] = command;
  merged["figures"] = figures;
  merged["cells"] = Json::array();
  for (const Json& id : merged["grid"]["cells"]) {
    const auto found = cells.find(id.get<std::string>());
    if (found != cells.end()) merged["cells"].push_back(found->second);
  }
  std::string parts;
  for (const std::string& shard : shards) parts += (parts.empty() ? "" : ", ") + shard;
  merged["grid"]["shard"] = parts;
  return merged;
}

}  // namespace mcci
