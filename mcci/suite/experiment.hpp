#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mcci/attacks/attack_spec.hpp"
#include "mcci/core/json.hpp"
#include "mcci/core/options.hpp"

namespace mcci {

// One data set, one attack, several ways to train and several seeds: poison, train each, evaluate, audit,
// report.
struct ExperimentOptions {
  std::string data = "fashion-mnist";
  std::string attack = "badnets";
  std::string attack_preset = "backdoorbench";
  double rate = 0.1;
  std::vector<std::string> defenses = {"none", "mcci"};
  std::string preset = "fast";
  std::string backbone = "resnet8";
  std::int64_t width = 16;
  std::int64_t epochs = 0;
  std::vector<std::string> seeds = {"0"};
  std::int64_t curve_images = 2000;
  void declare(OptionSet& set);
};

// Works below `out`: poisoned/seed-S (as mcci poison), S/<defense> (runs, as mcci train), result.json,
// report.html, figures/. Stopped at any point, it goes on where it was with the same options: finished runs
// are not trained again. Returns the result. Errors: those of its parts; usage if `out` holds an experiment
// with other options.
Json run_experiment(const ExperimentOptions& options, const std::filesystem::path& out,
                    const std::string& command);

}  // namespace mcci
