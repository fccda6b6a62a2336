#pragma once

#include <string>
#include <vector>

#include "mcci/report/summary.hpp"

// The page's tables, each empty when the result has nothing for it.
namespace mcci::report {

std::string results_section(const Result& result, const std::vector<Row>& rows);
// The cells without a model, with their messages.
std::string error_section(const std::vector<Row>& rows);
std::string detection_section(const std::vector<Row>& rows);
// Folded: the runs behind the means, accuracy by class, configuration, environment, command.
std::string details(const Result& result, const std::vector<Row>& rows);

}  // namespace mcci::report
