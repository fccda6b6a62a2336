#pragma once

#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "mcci/core/json.hpp"
#include "mcci/suite/grid.hpp"
#include "mcci/suite/plan.hpp"

namespace mcci {

struct BenchOptions {
  std::filesystem::path out;
  std::int64_t jobs = 1;        // units at once, each on its share of the cores
  Shard shard;                  // the part of the grid to run
  bool retry_failed = false;    // run failed units again
  bool keep_poisoned = false;   // else a poisoned set is removed once no cell needs it
  bool keep_models = false;     // else only undefended models are kept
  std::filesystem::path known;  // an earlier result, whose cells are not run again; empty: none
  bool show_training = false;   // units write to this process' standard error instead of to their logs
  // The program and its first words, to which the unit's file and this process' number are added; it calls
  // run_unit_process().
  std::vector<std::string> worker;
};

// Runs what is missing of the grid in the folder options.out, each unit in a process of its own, and returns
// the result, which is also written there with its report (docs/bench.md). A unit that fails, crashes or is
// killed is recorded, with all that needs it, and the rest goes on. May be stopped at any point, and the
// machine with it: finished units are not run again, and training goes on from its checkpoint.
// Errors: usage (plan_grid; another process works in the folder), io, data (what is `known` is no result of a
// grid); interrupted, once every unit has saved its state.
Json run_bench(const Grid& grid, const BenchOptions& options, const std::string& command);

// Lists the cells, what is known of each and how long the rest may take. Changes nothing.
void list_bench(const Grid& grid, const BenchOptions& options, std::ostream& out);

// A worker: runs the unit of the file OUT/units/KEY.json and ends with its parent, whatever happens to that.
// Errors: those of run_unit.
void run_unit_process(const std::filesystem::path& unit_file, std::int64_t parent);

// Merges the result.json of the folders `parts` into the new folder `out`, with their figures, and writes the
// report. Errors: merge_results; usage if `out` holds a result; io, data.
Json merge_benches(const std::vector<std::filesystem::path>& parts, const std::filesystem::path& out,
                   const std::string& command);

}  // namespace mcci
