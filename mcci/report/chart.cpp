#include "mcci/report/chart.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "mcci/report/format.hpp"
#include "mcci/report/svg.hpp"

namespace mcci::report {
namespace {

constexpr double letter_width = 6.4, line_height = 13;
// Above this number of epochs the marks of single points would run together.
constexpr std::size_t max_marked_points = 20;

struct Point {
  double x = 0, y = 0;
};

struct Line {
  std::string style;
  std::vector<Point> points;
};

// Ring, disc and cross differ without colour, too.
std::string mark(const std::string& style, const std::string& x, const std::string& y) {
  if (style == "asr") {
    return "<svg" + svg::attribute("x", x) + svg::attribute("y", y) +
           " class=\"mark asr\" overflow=\"visible\"><path d=\"M-3.2-3.2 3.2 3.2M-3.2 3.2 3.2-3.2\"/></svg>";
  }
  // A disc in its ring: the triggered images get their labels as the clean ones do.
  const std::string radius = style == "ca" ? "4.6" : style == "pa" ? "2.7" : "1.8";
  return "<circle" + svg::attribute("cx", x) + svg::attribute("cy", y) + svg::attribute("r", radius) +
         svg::attribute("class", "mark " + style) + "/>";
}

// All of a line's points as one path: a subpath without length, its ends round, is a dot. A line of a single
// point is nothing but its mark.
std::string draw(const svg::Frame& frame, const Line& line, bool marked) {
  std::string path, marks;
  for (const Point& point : line.points) {
    const std::string at = svg::pixels(frame.x(point.x)) + " " + svg::pixels(frame.y(point.y));
    path += (path.empty() ? "M" : "L") + at;
    marks += "M" + at + (line.style == "asr" ? "m-2.3-2.3l4.6 4.6m0-4.6l-4.6 4.6" : "h0");
  }
  std::string result = svg::path(path, "line " + line.style);
  if (!marked && line.points.size() > 1) return result;
  result += svg::path(marks, "dots " + line.style);
  if (line.style == "ca") result += svg::path(marks, "dots hole");
  return result;
}

struct Label {
  double y = 0;
  std::string style, content;
};

// At the lines' right ends, moved apart where they would overlap.
std::string end_labels(const svg::Frame& frame, std::vector<Label> labels) {
  std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
  for (std::size_t i = 1; i < labels.size(); ++i) {
    labels[i].y = std::max(labels[i].y, labels[i - 1].y + line_height);
  }
  // Those pushed below the plot push the others up again.
  double limit = frame.bottom + 4;
  for (std::size_t i = labels.size(); i-- > 0; limit -= line_height)
    labels[i].y = std::min(labels[i].y, limit);
  std::string result;
  for (const Label& label : labels)
    result += svg::text(frame.right + 9, label.y, "direct " + label.style, label.content);
  return result;
}

std::size_t longest_history(const Row& row) {
  std::size_t epochs = 0;
  for (const Cell* cell : row.cells) epochs = std::max(epochs, cell->history.size());
  return epochs;
}

std::string phase_bands(const svg::Frame& frame, const std::vector<Phase>& bands) {
  std::string result;
  if (bands.size() < 2) return result;
  for (std::size_t i = 0; i < bands.size(); ++i) {
    const double from = frame.x(static_cast<double>(bands[i].first) - 0.5);
    const double to = frame.x(static_cast<double>(bands[i].last) + 0.5);
    if (i % 2 == 0) {
      result += "<rect" + svg::attribute("x", svg::pixels(from)) +
                svg::attribute("y", svg::pixels(frame.top - 6)) +
                svg::attribute("width", svg::pixels(to - from)) +
                svg::attribute("height", svg::pixels(frame.bottom - frame.top + 6)) +
                svg::attribute("class", "band") + "/>";
    }
    const std::string numbered = std::to_string(i + 1) + " " + bands[i].name;
    const bool fits = static_cast<double>(numbered.size()) * letter_width < to - from;
    result +=
        svg::text((from + to) / 2, frame.top + 3, "phase middle", fits ? numbered : std::to_string(i + 1));
  }
  return result;
}

// The points of one figure: a line ends where `breaks` says so, and at the end of the history.
template <class Value, class Breaks>
std::vector<Line> lines_of(const Row& row, const std::string& style, const Value& value,
                           const Breaks& breaks) {
  std::vector<Line> lines;
  for (const Cell* cell : row.cells) {
    Line line{style, {}};
    for (std::size_t i = 0; i < cell->history.size(); ++i) {
      if (i > 0 && breaks(cell->history[i - 1], cell->history[i])) {
        if (!line.points.empty()) lines.push_back(std::exchange(line, Line{style, {}}));
      }
      if (const std::optional<double> y = value(cell->history[i])) {
        line.points.push_back({static_cast<double>(i + 1), *y});
      }
    }
    if (!line.points.empty()) lines.push_back(line);
  }
  return lines;
}

// The mean over the seeds of the last value each has.
template <class Value>
std::optional<double> final_mean(const Row& row, const Value& value) {
  Measure last;
  for (const Cell* cell : row.cells) {
    const auto found = std::find_if(cell->history.rbegin(), cell->history.rend(),
                                    [&](const Epoch& epoch) { return value(epoch).has_value(); });
    last.values.push_back(found == cell->history.rend() ? std::nullopt : value(*found));
  }
  return last.mean();
}

svg::Frame epoch_frame(std::size_t epochs, double y_high) {
  svg::Frame frame;
  frame.x_low = 0.5;
  frame.x_high = static_cast<double>(epochs) + 0.5;
  frame.y_high = y_high;
  return frame;
}

std::vector<double> epoch_ticks(std::size_t epochs) {
  std::vector<double> result = svg::ticks(1, static_cast<double>(epochs), 6);
  result.erase(std::remove_if(result.begin(), result.end(),
                              [&](double tick) {
                                return tick < 1 || tick > static_cast<double>(epochs) ||
                                       tick != std::floor(tick);
                              }),
               result.end());
  if (result.empty() || result.front() > 1) result.insert(result.begin(), 1);
  return result;
}

std::string epoch_chart(const Row& row, const svg::Frame& frame, const std::string& y_label,
                        const std::vector<Line>& lines, std::vector<Label> labels,
                        const std::string& description) {
  const std::size_t epochs = longest_history(row);
  std::string content = phase_bands(frame, phases(row.first().history));
  content +=
      svg::axes(frame, epoch_ticks(epochs), svg::ticks(frame.y_low, frame.y_high, 6), "epoch", y_label);
  content += row.cells.size() > 1 ? "<g class=\"seeds\">" : "<g>";
  for (const Line& line : lines) content += draw(frame, line, epochs <= max_marked_points);
  content += "</g>" + end_labels(frame, std::move(labels));
  return svg::drawing(description, content, frame.width, frame.height);
}

}  // namespace

std::vector<Phase> phases(const std::vector<Epoch>& history) {
  std::vector<Phase> result;
  for (std::size_t i = 0; i < history.size(); ++i) {
    if (result.empty() || history[i].phase != result.back().name)
      result.push_back({history[i].phase, i + 1, i + 1});
    result.back().last = i + 1;
  }
  return result;
}

std::string loss_chart(const Row& row) {
  const auto value = [](const Epoch& epoch) { return epoch.loss; };
  // Each phase minimises a loss of its own; an epoch without a finite loss is a gap.
  const std::vector<Line> lines = lines_of(row, "loss", value, [](const Epoch& before, const Epoch& epoch) {
    return before.phase != epoch.phase || !before.loss || !epoch.loss;
  });
  if (lines.empty()) return "";
  double low = 0, high = 0;
  for (const Line& line : lines) {
    for (const Point& point : line.points) {
      low = std::min(low, point.y);
      high = std::max(high, point.y);
    }
  }
  if (low == high) high = 1;
  svg::Frame frame = epoch_frame(longest_history(row), high + 0.08 * (high - low));
  frame.y_low = low;
  const double last = *final_mean(row, value);
  return epoch_chart(row, frame, "loss", lines, {{frame.y(last) + 4, "loss", fixed(last, 3)}},
                     "Training loss per epoch, " + fixed(last, 3) + " at the end");
}

std::string accuracy_chart(const Row& row) {
  struct Figure {
    const char* style;
    const char* name;
    std::optional<double> Epoch::*member;
  };
  constexpr std::array<Figure, 4> figures = {{{"train", "train", &Epoch::train_accuracy},
                                              {"ca", "CA", &Epoch::ca},
                                              {"pa", "PA", &Epoch::pa},
                                              {"asr", "ASR", &Epoch::asr}}};
  const svg::Frame frame = epoch_frame(longest_history(row), 106);
  std::vector<Line> lines;
  std::vector<Label> labels;
  std::string description;
  for (const Figure& figure : figures) {
    const auto value = [&](const Epoch& epoch) { return epoch.*figure.member; };
    const bool per_phase = figure.member == &Epoch::train_accuracy;
    for (Line& line : lines_of(row, figure.style, value, [&](const Epoch&before, const Epoch&epoch) {
           return per_phase && before.phase != epoch.phase;
         })) {
      lines.push_back(std::move(line));
    }
    if (const std::optional<double> last = final_mean(row, value)) {
      labels.push_back({frame.y(*last) + 4, figure.style, std::string(figure.name) + " " + fixed(*last, 1)});
      description += (description.empty() ? "" : ", ") + labels.back().content;
    }
  }
  if (lines.empty()) return "";
  return epoch_chart(row, frame, "percent", lines, labels,
                     "Accuracy per epoch in percent, at the end: " + description);
}

std::string group_style(std::size_t series) { return "group-" + std::to_string(series % 4); }

std::int64_t total(const HistogramSeries& series) {
  return std::accumulate(series.counts.begin(), series.counts.end(), std::int64_t{0});
}

std::string histogram_chart(const Histogram& histogram) {
  double highest = 0;
  for (const HistogramSeries& series : histogram.series) {
    for (const std::int64_t count : series.counts) {
      highest =
          std::max(highest, static_cast<double>(count) / std::max(1.0, static_cast<double>(total(series))));
    }
  }
  if (highest == 0) highest = 1;
  const std::vector<double>& edges = histogram.edges;
  svg::Frame frame;
  frame.x_low = edges.front();
  frame.x_high = edges.front() < edges.back() ? edges.back() : edges.front() + 1;
  frame.y_high = 100 * highest * 1.06;
  frame.right = frame.width - 14;
  std::string content = svg::axes(frame, svg::ticks(frame.x_low, frame.x_high, 5),
                                  svg::ticks(0, frame.y_high, 4), "", "percent of the group");
  std::string description = histogram.title + ":";
  for (std::size_t i = 0; i < histogram.series.size(); ++i) {
    const HistogramSeries& series = histogram.series[i];
    const std::string style = group_style(i);
    std::string outline = "M" + svg::pixels(frame.x(edges.front())) + " " + svg::pixels(frame.bottom);
    std::size_t mode = 0;
    for (std::size_t bin = 0; bin < series.counts.size(); ++bin) {
      const double y = frame.y(100 * static_cast<double>(series.counts[bin]) /
                               std::max(1.0, static_cast<double>(total(series))));
      outline += "V" + svg::pixels(y) + "H" + svg::pixels(frame.x(edges[bin + 1]));
      if (series.counts[bin] > series.counts[mode]) mode = bin;
    }
    content += svg::path(outline + "V" + svg::pixels(frame.bottom) + "Z", "area " + style);
    description += " " + series.name + ", most often between " + fixed(edges[mode], 2) + " and " +
                   fixed(edges[mode + 1], 2) + ";";
  }
  return svg::drawing(description, content, frame.width, frame.bottom + 20);
}

std::string strip_chart(const Row& row) {
  std::string content =
      "<line x1=\"0\" x2=\"100%\" y1=\"50%\" y2=\"50%\" class=\"axis\"/>"
      "<path d=\"M0 5V13\" class=\"axis\"/><svg x=\"50%\" overflow=\"visible\"><path d=\"M0 5V13\" "
      "class=\"axis\"/></svg>"
      "<svg x=\"100%\" overflow=\"visible\"><path d=\"M0 5V13\" class=\"axis\"/></svg>";
  constexpr std::array<std::pair<const char*, std::optional<double> Cell::*>, 3> figures = {
      {{"asr", &Cell::asr}, {"ca", &Cell::ca}, {"pa", &Cell::pa}}};
  for (const auto& [style, figure] : figures) {
    for (const std::optional<double>& value : row.measure(figure).values) {
      if (value) content += mark(style, fixed(*value, 1) + "%", "50%");
    }
  }
  return "<svg class=\"strip\" aria-hidden=\"true\" height=\"18\">" + content + "</svg>";
}

std::string legend_key(const std::string& style) {
  const bool is_area = style.rfind("group", 0) == 0;
  return "<svg class=\"key\" width=\"24\" height=\"12\" aria-hidden=\"true\">" +
         (is_area ? "<path d=\"M3 11V3H21V11Z\" class=\"area " + style + "\"/>"
                  : "<path d=\"M1 6H23\" class=\"line " + style + "\"/>" + mark(style, "12", "6")) +
         "</svg>";
}

}  // namespace mcci::report
