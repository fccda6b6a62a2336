#pragma once

#include <string>
#include <vector>

#include "mcci/report/result.hpp"
#include "mcci/report/summary.hpp"

// Figures drawn as inline SVG. Colours and line styles are the page's (page.css), by class: one class for
// each figure of merit (ca, asr, pa, train, loss), and group-0, group-1, ... for the series of a histogram.
namespace mcci::report {

std::string group_style(std::size_t series);  // "group-0"; beyond the fourth they begin again
std::int64_t total(const HistogramSeries& series);

// Over the epochs of a row's cells, one thin line a seed: the loss, and all percentages in one chart.
// Phases are shaded in turn, named where the name fits and numbered elsewhere. Empty if there is nothing to
// draw.
std::string loss_chart(const Row& row);
std::string accuracy_chart(const Row& row);

// Consecutive epochs of one phase, counted from 1, both ends included.
struct Phase {
  std::string name;
  std::size_t first = 0, last = 0;
};
std::vector<Phase> phases(const std::vector<Epoch>& history);

// Each series as shares of its own total, since clean images outnumber poisoned ones. The horizontal axis is
// left without its name, which is long; it stands below as text that can wrap.
std::string histogram_chart(const Histogram& histogram);

// CA (ring), PA (disc) and ASR (cross) of a row on one line from 0 to 100 percent, a mark for each seed.
std::string strip_chart(const Row& row);

// The mark or line that stands for a class, for legends.
std::string legend_key(const std::string& style);

}  // namespace mcci::report
