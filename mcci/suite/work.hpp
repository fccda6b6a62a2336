#pragma once

#include <filesystem>
#include <string>

#include "mcci/core/json.hpp"
#include "mcci/suite/plan.hpp"

namespace mcci {

// The files of a grid's folder: docs/bench.md.
struct BenchFiles {
  std::filesystem::path folder;
  std::filesystem::path poisoned(const std::string& key) const { return folder / "poisoned" / key; }
  std::filesystem::path model(const std::string& key) const { return folder / "models" / key; }
  std::filesystem::path outcome(const std::string& key) const { return folder / "cells" / (key + ".json"); }
  std::filesystem::path unit(const std::string& key) const { return folder / "units" / (key + ".json"); }
  std::filesystem::path log(const std::string& key) const { return folder / "units" / (key + ".log"); }
  std::filesystem::path lock() const { return folder / "lock"; }
  std::filesystem::path result() const { return folder / "result.json"; }
  std::filesystem::path report() const { return folder / "report.html"; }
};

// What a unit has found.
struct Outcome {
  std::string error;           // why there is nothing; empty: all went well
  Json cell = Json::object();  // figures for a cell of result.json; of an oracle `oracle_asr` and `oracle_pa`
  Json figures = Json::object();      // docs/formats/result.md, `figures`
  Json environment = Json::object();  // where it was found
  double seconds = 0;                 // of work: training, evaluation and audit
};

// Schema `mcci.outcome/1`; written atomically. Errors of reading: io; data, also where the key is another.
void write_outcome(const std::filesystem::path& path, const Unit& unit, const Outcome& outcome);
Outcome read_outcome(const std::filesystem::path& path, const std::string& key);

// Does the work in this process. A cell or an oracle leaves its outcome, a poison unit its set; training
// that was stopped goes on where it was, and a model that is there is not trained again. What goes wrong is
// recorded as the outcome's error. Errors: interrupted; io if not even that can be written.
void run_unit(const Unit& unit, const BenchFiles& files);

}  // namespace mcci
