#include "mcci/report/scatter_chart.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "mcci/report/format.hpp"
#include "mcci/report/svg.hpp"

namespace mcci::report {
namespace {

constexpr double side = 220, margin = 9;
constexpr std::size_t clean_styles = 10, poisoned_styles = 2;

bool is_poisoned(const std::string& group) {
  return group.rfind("poisoned", 0) == 0 || group.rfind("triggered", 0) == 0;
}

// The square that holds all panels, which show one plane.
svg::Frame frame_of(const Embedding& embedding) {
  double left = std::numeric_limits<double>::max(), low = left;
  double right = std::numeric_limits<double>::lowest(), high = right;
  for (const EmbeddingPanel& panel : embedding.panels) {
    for (const EmbeddedPoint& point : panel.points) {
      left = std::min(left, point.x);
      right = std::max(right, point.x);
      low = std::min(low, point.y);
      high = std::max(high, point.y);
    }
  }
  // Points in one place, too, have some room, also where doubles are far apart.
  const double magnitude = std::max({std::abs(left), std::abs(right), std::abs(low), std::abs(high)});
  const double range = std::max({right - left, high - low, 1e-9 * magnitude, 1e-12});
  svg::Frame frame;
  frame.left = frame.top = margin;
  frame.right = frame.bottom = side - margin;
  frame.x_low = (left + right - range) / 2;
  frame.x_high = frame.x_low + range;
  frame.y_low = (low + high - range) / 2;
  frame.y_high = frame.y_low + range;
  return frame;
}

// Styles are counted within each kind.
std::string style_of(const Embedding& embedding, std::size_t group) {
  const bool poisoned = is_poisoned(embedding.groups[group]);
  const auto before = static_cast<std::size_t>(
      std::count_if(embedding.groups.begin(), embedding.groups.begin() + static_cast<std::ptrdiff_t>(group),
                    [&](const std::string& other) { return is_poisoned(other) == poisoned; }));
  return poisoned ? "crosses poisoned-" + std::to_string(before % poisoned_styles)
                  : "specks clean-" + std::to_string(before % clean_styles);
}

std::string mark(const std::string& at, bool poisoned) {
  return "M" + at + (poisoned ? "m-2.4-2.4l4.8 4.8m0-4.8l-4.8 4.8" : "h0");
}

}  // namespace

std::string scatter_chart(const Embedding& embedding, const EmbeddingPanel& panel) {
  if (panel.points.empty()) return "";
  const svg::Frame frame = frame_of(embedding);
  std::vector<std::string> outlines(embedding.groups.size());
  std::vector<std::int64_t> counts(embedding.groups.size());
  for (const EmbeddedPoint& point : panel.points) {
    const std::string at = svg::pixels(frame.x(point.x)) + " " + svg::pixels(frame.y(point.y));
    outlines[point.group] += mark(at, is_poisoned(embedding.groups[point.group]));
    ++counts[point.group];
  }
  std::string content = svg::path("M.5.5H219.5V219.5H.5Z", "box");
  std::string description = panel.name + ":";
  for (const bool poisoned : {false, true}) {
    for (std::size_t group = 0; group < outlines.size(); ++group) {
      if (outlines[group].empty() || is_poisoned(embedding.groups[group]) != poisoned) continue;
      content += svg::path(outlines[group], style_of(embedding, group));
      description += " " + with_separators(counts[group]) + " " + embedding.groups[group] + ";";
    }
  }
  return svg::drawing(description, content, side, side, "chart scatter");
}

std::string scatter_key(const Embedding& embedding, std::size_t group) {
  return "<svg class=\"key\" width=\"12\" height=\"12\" aria-hidden=\"true\">" +
         svg::path(mark("6 6", is_poisoned(embedding.groups[group])), style_of(embedding, group)) + "</svg>";
}

}  // namespace mcci::report
