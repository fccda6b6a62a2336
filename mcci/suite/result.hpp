#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mcci/core/json.hpp"
#include "mcci/metrics/metrics.hpp"
#include "mcci/runtime/compute.hpp"

namespace mcci {

// The skeleton of docs/formats/result.md: schema, time, environment, conventions, no cells.
Json new_result(const std::string& title, const std::string& command, const Compute& compute);

// A cell with every key of the contract; the figures that are not known yet are null.
Json new_cell();

// A percentage rounded to four decimals; null where the rate is undefined.
Json percent(const Rate& rate);
Json counts(const Rate& rate);
// A finite number, else null.
Json number(double value);

}  // namespace mcci
