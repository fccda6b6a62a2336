#pragma once

#include <string>
#include <vector>

// What the charts are drawn with: elements of inline SVG, a plot area and its axes. Styles are classes of the
// page's style sheet.
namespace mcci::report::svg {

// A drawing's size and plot area, and the range of the data mapped to it. In pixels of a narrow phone's page,
// so that text keeps its size there.
struct Frame {
  double width = 340, height = 210;
  double left = 38, right = 272, top = 24, bottom = 178;
  double x_low = 0, x_high = 1, y_low = 0, y_high = 1;

  double x(double value) const { return left + (value - x_low) / (x_high - x_low) * (right - left); }
  double y(double value) const { return bottom - (value - y_low) / (y_high - y_low) * (bottom - top); }
};

// Positions of about `count` round numbers covering [low, high].
std::vector<double> ticks(double low, double high, int count);

std::string pixels(double value);  // "12.3"
// `value` is not escaped.
std::string attribute(const std::string& name, const std::string& value);
std::string text(double x, double y, const std::string& style, const std::string& content);
std::string rule(double x1, double y1, double x2, double y2, const std::string& style);
std::string path(const std::string& outline, const std::string& style);

// A rule across the plot for each tick, with its number.
std::string y_axis(const Frame& frame, const std::vector<double>& y_ticks);
// Both axes with their names; without a name the x axis takes no room for one.
std::string axes(const Frame& frame, const std::vector<double>& x_ticks, const std::vector<double>& y_ticks,
                 const std::string& x_label, const std::string& y_label);

// The whole element; `description` is read aloud in place of it.
std::string drawing(const std::string& description, const std::string& content, double width, double height,
                    const std::string& style = "chart");

}  // namespace mcci::report::svg
