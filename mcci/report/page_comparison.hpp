#pragma once

#include <string>
#include <vector>

#include "mcci/report/comparison.hpp"

// The page's sections over many trainings, each empty when there are too few of them to compare.
namespace mcci::report {

// Averages over attacks, and maps of attack x defense at each rate: of two attacks or more.
std::string comparison_section(const std::vector<Comparison>& comparisons);
// Figures over the poison rate: of two rates or more.
std::string rate_section(const std::vector<Comparison>& comparisons);
// Time and memory relative to the undefended model: of two defenses or more.
std::string cost_section(const std::vector<Comparison>& comparisons);

}  // namespace mcci::report
