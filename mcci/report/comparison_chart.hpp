#pragma once

#include <string>

#include "mcci/report/comparison.hpp"

// Charts over many trainings. A defense has the style series-K and a mark of its own, which differ without
// colour, too; beyond the eighth they begin again.
namespace mcci::report {

// A figure in percent over the poison rate, a line for each defense: the mean over the seeds with whiskers of
// one deviation, hollow where the attack did not implant. Rates stand at equal distances, in order; models of
// the clean set, where they have the figure, at 0.
std::string rate_chart(const Comparison& comparison, std::size_t attack, const std::string& name,
                       std::optional<double> Cell::*figure);
// The same over all attacks that implanted, with the deviation over attacks.
std::string mean_rate_chart(const Comparison& comparison, const std::string& name,
                            std::optional<double> Cell::*figure);

// A bar for each defense: its cost as a multiple of the undefended model's, with the smallest and the
// largest. Empty if none is known.
std::string time_chart(const Comparison& comparison, const std::vector<Cost>& costs);
std::string memory_chart(const Comparison& comparison, const std::vector<Cost>& costs);

std::string series_key(std::size_t series);  // for legends

}  // namespace mcci::report
