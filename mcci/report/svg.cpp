#include "mcci/report/svg.hpp"

#include <algorithm>
#include <cmath>

#include "mcci/report/format.hpp"

namespace mcci::report::svg {
namespace {

int decimals(const std::vector<double>& at) {
  if (at.size() < 2) return 0;
  const double step = at[1] - at[0];
  return step >= 1 ? 0 : std::min(6, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
}

}  // namespace

std::vector<double> ticks(double low, double high, int count) {
  const double raw = (high - low) / count;
  if (!(raw > 0) || !std::isfinite(raw)) return {low};
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  const double ratio = raw / power;
  const double step = power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
  const double first = std::ceil(low / step - 1e-9);
  std::vector<double> result;
  for (int k = 0; k <= count + 1 && (first + k) * step <= high + 1e-9 * step; ++k) {
    result.push_back((first + k) * step);
  }
  return result;
}

std::string pixels(double value) { return fixed(value, 1); }

std::string attribute(const std::string& name, const std::string& value) {
  return " " + name + "=\"" + value + "\"";
}

std::string text(double x, double y, const std::string& style, const std::string& content) {
  return "<text" + attribute("x", pixels(x)) + attribute("y", pixels(y)) + attribute("class", style) + ">" +
         html(content) + "</text>";
}

std::string rule(double x1, double y1, double x2, double y2, const std::string& style) {
  return "<line" + attribute("x1", pixels(x1)) + attribute("y1", pixels(y1)) + attribute("x2", pixels(x2)) +
         attribute("y2", pixels(y2)) + attribute("class", style) + "/>";
}

std::string path(const std::string& outline, const std::string& style) {
  return "<path" + attribute("d", outline) + attribute("class", style) + "/>";
}

std::string y_axis(const Frame& frame, const std::vector<double>& y_ticks) {
  std::string result;
  for (const double tick : y_ticks) {
    result += rule(frame.left, frame.y(tick), frame.right, frame.y(tick), "grid");
    result += text(frame.left - 6, frame.y(tick) + 4, "tick end", fixed(tick, decimals(y_ticks)));
  }
  return result;
}

std::string axes(const Frame& frame, const std::vector<double>& x_ticks, const std::vector<double>& y_ticks,
                 const std::string& x_label, const std::string& y_label) {
  std::string result = y_axis(frame, y_ticks);
  for (const double tick : x_ticks) {
    result += rule(frame.x(tick), frame.bottom, frame.x(tick), frame.bottom + 4, "axis");
    result += text(frame.x(tick), frame.bottom + 16, "tick middle", fixed(tick, decimals(x_ticks)));
  }
  result += rule(frame.left, frame.bottom, frame.right, frame.bottom, "axis");
  if (!x_label.empty()) {
    result += text((frame.left + frame.right) / 2, frame.height - 3, "label middle", x_label);
  }
  result += text(4, 11, "label", y_label);
  return result;
}

std::string drawing(const std::string& description, const std::string& content, double width, double height,
                    const std::string& style) {
  return "<svg" + attribute("class", style) + " role=\"img\"" + attribute("aria-label", html(description)) +
         attribute("viewBox", "0 0 " + fixed(width, 0) + " " + fixed(height, 0)) + ">" + content + "</svg>\n";
}

}  // namespace mcci::report::svg
