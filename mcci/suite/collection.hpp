#pragma once

#include <map>
#include <string>
#include <vector>

#include "mcci/core/json.hpp"
#include "mcci/suite/plan.hpp"
#include "mcci/suite/work.hpp"

namespace mcci {

// An undefended model below this ASR has not taken up the trigger: a defense can win nothing there.
constexpr double implanted_asr = 50;

// Writes into a cell what others say of it: `implanted` and, if it is not itself the undefended one, `der`
// from its undefended cell; `oracle_asr`, `oracle_pa`, their counts and `pa_over_oracle` from its oracle's.
// Either may be null.
void relate(Json& cell, const Json* undefended, const Json* oracle);

// result.json (docs/formats/result.md) of all listed cells that have an outcome. Names come from the plan.
// `grid` in it holds the keys of all cells of the whole grid, in its order, and the part that was run.
Json collect(const Plan& plan, const std::map<std::string, Outcome>& outcomes, const std::string& command,
             const Shard& shard);

// What an earlier result says of the plan's units, by their keys: of cells that did not fail, and of their
// oracles. Pictures are left behind. `where` names the result in errors: data if it is none.
std::map<std::string, Outcome> outcomes_of(const Plan& plan, const Json& result, const std::string& where);

// The results of parts of one grid as one. Errors: usage if one is no grid's, if the grids differ, or if two
// say different things of one cell. `names` of the results are for errors.
Json merge_results(const std::vector<Json>& results, const std::vector<std::string>& names,
                   const std::string& command);

}  // namespace mcci
