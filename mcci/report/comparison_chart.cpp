#include "mcci/report/comparison_chart.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "mcci/report/format.hpp"
#include "mcci/report/svg.hpp"

namespace mcci::report {
namespace {

// Outlines about the origin, all of about one area.
constexpr std::array<const char*, 8> marks = {"m-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0-6.8 0z",
                                              "m-3-3h6v6h-6z",
                                              "m0-4.2l4 7h-8z",
                                              "m0-4.3l4.3 4.3l-4.3 4.3l-4.3-4.3z",
                                              "m0 4.2l4-7h-8z",
                                              "m-4.2-2h8.4v4h-8.4z",
                                              "m-2-4.2h4v8.4h-4z",
                                              "m-1.2-3.8h2.4v2.6h2.6v2.4h-2.6v2.6h-2.4v-2.6h-2.6v-2.4h2.6z"};

std::string style_of(std::size_t series) { return "series-" + std::to_string(series % marks.size()); }

std::string mark(std::size_t series, double x, double y, bool hollow) {
  return svg::path("M" + svg::pixels(x) + " " + svg::pixels(y) + marks[series % marks.size()],
                   std::string(hollow ? "hollow " : "spot ") + style_of(series));
}

struct RatePoint {
  std::size_t place = 0;  // among the rates
  double mean = 0;
  std::optional<double> deviation;
  bool hollow = false;
};

struct RateLine {
  std::size_t defense = 0;
  std::vector<RatePoint> points;
};

svg::Frame rate_frame(std::size_t rates) {
  svg::Frame frame;
  frame.width = 250;
  frame.height = 186;
  frame.left = 32;
  frame.right = 242;
  frame.bottom = 150;
  frame.x_low = -0.3;
  frame.x_high = static_cast<double>(rates) - 0.7;
  frame.y_high = 104;
  return frame;
}

std::string draw(const svg::Frame& frame, std::size_t series, const RateLine& line) {
  std::string outline, whiskers, spots;
  for (const RatePoint& point : line.points) {
    const double x = frame.x(static_cast<double>(point.place)), y = frame.y(point.mean);
    outline += (outline.empty() ? "M" : "L") + svg::pixels(x) + " " + svg::pixels(y);
    if (point.deviation) {
      const double low = std::max(0.0, point.mean - *point.deviation);
      const double high = std::min(100.0, point.mean + *point.deviation);
      whiskers += "M" + svg::pixels(x) + " " + svg::pixels(frame.y(low)) + "V" + svg::pixels(frame.y(high));
    }
    spots += mark(series, x, y, point.hollow);
  }
  return (whiskers.empty() ? "" : svg::path(whiskers, "whisker " + style_of(series))) +
         svg::path(outline, "line " + style_of(series)) + spots;
}

std::string rate_lines(const Comparison& comparison, const std::vector<std::optional<double>>& rates,
                       const std::vector<RateLine>& lines, const std::string& name) {
  if (lines.empty()) return "";
  const svg::Frame frame = rate_frame(rates.size());
  std::string content = svg::axes(frame, {}, svg::ticks(0, 100, 5), "poison rate", name + " %");
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const double x = frame.x(static_cast<double>(i));
    content += svg::rule(x, frame.bottom, x, frame.bottom + 4, "axis") +
               svg::text(x, frame.bottom + 16, "tick middle", share_text(rates[i]));
  }
  std::string description = name + " in percent over the poison rate, at the last rate:";
  for (const RateLine& line : lines) {
    content += draw(frame, comparison.series(line.defense), line);
    description += " " + comparison.defenses[line.defense] + " " + fixed(line.points.back().mean, 1) + ";";
  }
  return svg::drawing(description, content, frame.width, frame.height, "chart small");
}

bool has_clean(const Comparison& comparison, std::optional<double> Cell::*figure) {
  const bool has_rate_0 = !comparison.grids.empty() && comparison.grids.front().rate == 0.0;
  return !has_rate_0 && std::any_of(comparison.clean.begin(), comparison.clean.end(), [&](const Row* row) {
    return row != nullptr && row->measure(figure).defined() > 0;
  });
}

// `measure_at(grid, defense)` says what stands at a rate, and whether it is hollow.
template <class MeasureAt>
std::string over_rates(const Comparison& comparison, const std::string& name,
                       std::optional<double> Cell::*figure, const MeasureAt& measure_at) {
  std::vector<std::optional<double>> rates;
  std::vector<RateLine> lines;
  for (std::size_t defense = 0; defense < comparison.defenses.size(); ++defense) {
    RateLine line{defense, {}};
    rates.clear();
    const auto add = [&](const Measure& measure, bool hollow) {
      if (const std::optional<double> mean = measure.mean()) {
        line.points.push_back({rates.size(), *mean, measure.deviation(), hollow});
      }
    };
    if (has_clean(comparison, figure)) {
      if (const Row* row = comparison.clean[defense]) add(row->measure(figure), false);
      rates.emplace_back(0.0);
    }
    for (const Comparison::Grid& grid : comparison.grids) {
      if (!grid.rate) continue;
      const auto [measure, hollow] = measure_at(grid, defense);
      add(measure, hollow);
      rates.push_back(grid.rate);
    }
    if (!line.points.empty()) lines.push_back(std::move(line));
  }
  return rate_lines(comparison, rates, lines, name);
}

std::string multiple(double value) { return fixed(value, value < 10 ? 2 : 1) + " ×"; }

// `ratios` and `value` name a member of each cost; `text_of` says the latter in its unit.
std::string cost_chart(const Comparison& comparison, const std::vector<Cost>& costs, const std::string& name,
                       Measure Cost::*ratios, std::optional<double> Cost::*value,
                       std::string (*text_of)(const std::optional<double>&)) {
  constexpr double line_height = 36, bar_height = 13, first = 22;
  svg::Frame frame;
  frame.left = 2;
  frame.right = frame.width - 14;
  std::vector<const Cost*> shown;
  frame.x_high = 1;
  for (const Cost& cost : costs) {
    if ((cost.*ratios).defined() == 0) continue;
    shown.push_back(&cost);
    for (const std::optional<double>& ratio : (cost.*ratios).values) {
      frame.x_high = std::max(frame.x_high, ratio.value_or(0));
    }
  }
  if (shown.size() < 2) return "";  // the undefended model alone
  frame.bottom = first + line_height * static_cast<double>(shown.size());
  std::string content = svg::text(2, 11, "label", name);
  std::string description = name + ", relative to the undefended model:";
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const Measure& measure = shown[i]->*ratios;
    const double top = first + line_height * static_cast<double>(i), mean = *measure.mean();
    const std::string style = style_of(comparison.series(shown[i]->defense));
    const std::string& defense = comparison.defenses[shown[i]->defense];
    double low = mean, high = mean;
    for (const std::optional<double>& ratio : measure.values) {
      low = std::min(low, ratio.value_or(mean));
      high = std::max(high, ratio.value_or(mean));
    }
    content +=
        svg::text(2, top + 11, "bar-name", defense) +
        svg::text(frame.right, top + 11, "tick end", multiple(mean) + ", " + text_of(shown[i]->*value));
    content += svg::path("M" + svg::pixels(frame.x(0)) + " " + svg::pixels(top + 16) + "H" +
                             svg::pixels(frame.x(mean)) + "v" + svg::pixels(bar_height) + "H" +
                             svg::pixels(frame.x(0)) + "Z",
                         "bar " + style);
    content += svg::rule(frame.x(1), top + 14, frame.x(1), top + 16 + bar_height + 2, "reference");
    if (high > low) {
      content += svg::path("M" + svg::pixels(frame.x(low)) + " " + svg::pixels(top + 16 + bar_height / 2) +
                               "H" + svg::pixels(frame.x(high)),
                           "extent");
    }
    description += " " + defense + " " + multiple(mean) + ";";
  }
  return svg::drawing(description, content, frame.width, frame.bottom + 2);
}

}  // namespace

std::string rate_chart(const Comparison& comparison, std::size_t attack, const std::string& name,
                       std::optional<double> Cell::*figure) {
  return over_rates(comparison, name, figure, [&](const Comparison::Grid& grid, std::size_t defense) {
    const Row* row = comparison.at(grid, attack, defense);
    return row == nullptr ? std::pair(Measure(), false) : std::pair(row->measure(figure), !row->implanted());
  });
}

std::string mean_rate_chart(const Comparison& comparison, const std::string& name,
                            std::optional<double> Cell::*figure) {
  return over_rates(comparison, name, figure, [&](const Comparison::Grid& grid, std::size_t defense) {
    return std::pair(comparison.over_attacks(grid, defense, figure), false);
  });
}

std::string time_chart(const Comparison& comparison, const std::vector<Cost>& costs) {
  return cost_chart(comparison, costs, "training time", &Cost::time, &Cost::seconds, seconds_text);
}

std::string memory_chart(const Comparison& comparison, const std::vector<Cost>& costs) {
  return cost_chart(comparison, costs, "peak memory", &Cost::memory, &Cost::peak_memory_mib, memory_text);
}

std::string series_key(std::size_t series) {
  return "<svg class=\"key\" width=\"24\" height=\"12\" aria-hidden=\"true\">" +
         svg::path("M1 6H23", "line " + style_of(series)) + mark(series, 12, 6, false) + "</svg>";
}

}  // namespace mcci::report
