#include "mcci/report/page_comparison.hpp"

#include <algorithm>
#include <array>

#include "mcci/report/comparison_chart.hpp"
#include "mcci/report/format.hpp"
#include "mcci/report/markup.hpp"

namespace mcci::report {
namespace {

struct Metric {
  const char* name;
  const char* style;
  std::optional<double> Cell::*figure;
};
constexpr std::array<Metric, 3> metrics = {
    {{"ASR", "asr", &Cell::asr}, {"PA", "pa", &Cell::pa}, {"CA", "ca", &Cell::ca}}};

std::string rate_name(const std::optional<double>& rate) { return rate ? share_text(rate) : "no rate given"; }

// What stands before a comparison's parts where there are several.
std::string title_of(const std::vector<Comparison>& comparisons, const Comparison& comparison) {
  return comparisons.size() > 1 ? comparison.dataset + ", " + comparison.model : "";
}

std::string join(const std::string& first, const std::string& second) {
  return first.empty() || second.empty() ? first + second : first + ", " + second;
}

bool any_figure(const Comparison& comparison, std::optional<double> Cell::*figure) {
  return std::any_of(comparison.grids.begin(), comparison.grids.end(), [&](const Comparison::Grid& grid) {
    return std::any_of(grid.rows.begin(), grid.rows.end(),
                       [&](const Row* row) { return row != nullptr && row->measure(figure).defined() > 0; });
  });
}

bool any_figure(const std::vector<Comparison>& comparisons, std::optional<double> Cell::*figure) {
  return std::any_of(comparisons.begin(), comparisons.end(),
                     [&](const Comparison& comparison) { return any_figure(comparison, figure); });
}

// ------------------------------------------------------------------------------------------ averages

struct Average {
  const char* name;
  std::optional<double> Cell::*figure;
  int decimals;
};
constexpr std::array<Average, 6> averages = {{{"CA %", &Cell::ca, 1},
                                              {"ASR %", &Cell::asr, 1},
                                              {"PA %", &Cell::pa, 1},
                                              {"PA / oracle", &Cell::pa_over_oracle, 3},
                                              {"DER", &Cell::der, 3},
                                              {"AUROC", &Cell::auroc, 3}}};

// The deviation is that over attacks; an interval would take attacks for a sample of something.
std::string average_cell(const Average& average, const Measure& measure) {
  const std::optional<double> mean = measure.mean(), deviation = measure.deviation();
  std::string cell = std::string("<td class=\"number") + (mean ? "" : " missing") + "\" data-label=\"" +
                     average.name + "\" data-value=\"" + (mean ? fixed(*mean, 6) : "") + "\">" +
                     fixed(mean, average.decimals);
  if (deviation) cell += " <span class=\"deviation\">± " + fixed(*deviation, average.decimals) + "</span>";
  return cell + "</td>";
}

std::string average_table(const std::vector<Comparison>& comparisons) {
  std::vector<Average> shown;
  for (const Average& average : averages) {
    if (any_figure(comparisons, average.figure)) shown.push_back(average);
  }
  std::vector<Column> columns = {{"poison rate", "", {}}, {"defense", "", {}}, {"attacks", "number", {}}};
  for (const Average& average : shown) columns.push_back({average.name, "number", {}});
  std::string body;
  for (const Comparison& comparison : comparisons) {
    if (comparison.attacks.size() < 2) continue;
    for (const Comparison::Grid& grid : comparison.grids) {
      bool leads = true;
      for (const std::size_t defense : comparison.defenses_in(grid)) {
        const std::int64_t counted =
            comparison.over_attacks(grid, defense, [](const Cell& cell) { return cell.asr; }).defined();
        body += std::string("<tr class=\"") + (leads ? "leads" : "follows") + "\">" +
                heading_cell(html(join(title_of(comparisons, comparison), rate_name(grid.rate))),
                             fixed(grid.rate.value_or(2), 6)) +
                name_cell(html(comparison.defenses[defense]), comparison.defenses[defense], "defense") +
                "<td class=\"number\" data-label=\"attacks\" data-value=\"" + std::to_string(counted) +
                "\">" + std::to_string(counted) + "</td>";
        for (const Average& average : shown) {
          body += average_cell(average, comparison.over_attacks(grid, defense, average.figure));
        }
        body += "</tr>\n";
        leads = false;
      }
    }
  }
  return table_around("sortable cards averages",
                      "Averages over the attacks that implanted, each counted by its mean over the seeds; ± "
                      "is the standard deviation over attacks.",
                      columns, body);
}

// ------------------------------------------------------------------------------------------ heat maps

std::string heat_cell(const std::optional<double>& value, const std::string& style, const std::string& title,
                      const std::string& sign) {
  return "<td class=\"" + style + "\" style=\"--share:" + fixed(value.value_or(0), 0) + "\" title=\"" +
         html(title) + "\">" + (value || sign.empty() ? fixed(value, 1) : "") + sign + "</td>";
}

std::string heat_cell(const Comparison& comparison, const Row* row, std::size_t defense,
                      const Metric& metric) {
  if (row == nullptr) return "<td class=\"absent\"></td>";
  const Measure measure = row->measure(metric.figure);
  std::string title = comparison.defenses[defense] + " on " + row->first().attack + ": " + metric.name + " " +
                      mean_text(measure, 1) + ", seed " + row->seeds();
  std::string style = measure.defined() > 0 ? "heated" : "absent", sign;
  if (!row->implanted()) {
    style += " hatched";
    sign += "<sup>†<span class=\"hidden\"> did not implant</span></sup>";
    title += ", did not implant";
  }
  if (row->errors() > 0) {
    sign += measure.defined() > 0 ? "<sup>✕<span class=\"hidden\"> failed for some seeds</span></sup>"
                                  : "<span class=\"wanted\">✕ failed</span>";
    title += ", " + error_detail(*row);
  }
  return heat_cell(measure.mean(), style, title, sign);
}

std::string heat_map(const Comparison& comparison, const Comparison::Grid& grid, const Metric& metric) {
  if (!any_figure(comparison, metric.figure)) return "";
  std::string content = std::string("<div class=\"scroll\"><table class=\"heat ") + metric.style +
                        "\"><caption>" + metric.name +
                        " %</caption>\n<thead><tr><th scope=\"col\">attack</th>";
  const std::vector<std::size_t> defenses = comparison.defenses_in(grid);
  for (const std::size_t defense : defenses) {
    content += "<th scope=\"col\">" + html(comparison.defenses[defense]) + "</th>";
  }
  content += "</tr></thead>\n<tbody>\n";
  for (const std::size_t attack : comparison.attacks_in(grid)) {
    content += "<tr><th scope=\"row\">" + html(comparison.attacks[attack]) + "</th>";
    for (const std::size_t defense : defenses) {
      content += heat_cell(comparison, comparison.at(grid, attack, defense), defense, metric);
    }
    content += "</tr>\n";
  }
  content += "</tbody>\n<tbody><tr class=\"mean\"><th scope=\"row\">mean</th>";
  for (const std::size_t defense : defenses) {
    const Measure measure = comparison.over_attacks(grid, defense, metric.figure);
    content += heat_cell(measure.mean(), measure.defined() > 0 ? "heated" : "absent",
                         comparison.defenses[defense] + ": " + metric.name + " " + mean_text(measure, 1) +
                             " over " + plural(static_cast<std::size_t>(measure.defined()), "attack"),
                         "");
  }
  content += "</tr>";
  const bool has_clean = std::any_of(defenses.begin(), defenses.end(), [&](std::size_t defense) {
    const Row* row = comparison.clean[defense];
    return row != nullptr && row->measure(metric.figure).defined() > 0;
  });
  if (has_clean) {
    content += "<tr><th scope=\"row\">clean set</th>";
    for (const std::size_t defense : defenses) {
      content += heat_cell(comparison, comparison.clean[defense], defense, metric);
    }
    content += "</tr>";
  }
  return content + "</tbody></table></div>\n";
}

std::string heat_maps(const std::vector<Comparison>& comparisons) {
  std::string content;
  for (const Comparison& comparison : comparisons) {
    if (comparison.attacks.size() < 2 || comparison.defenses.size() < 2) continue;
    for (std::size_t i = 0; i < comparison.grids.size(); ++i) {
      const Comparison::Grid& grid = comparison.grids[i];
      std::string maps;
      for (const Metric& metric : metrics) maps += heat_map(comparison, grid, metric);
      if (maps.empty()) continue;
      const bool highest = content.find("data-first") == std::string::npos &&
                           (i + 1 == comparison.grids.size() || !comparison.grids[i + 1].rate);
      const std::string rate = grid.rate ? rate_name(grid.rate) + " poisoned" : rate_name(grid.rate);
      content += choice(join(title_of(comparisons, comparison), rate),
                        "<div class=\"heats\">\n" + maps + "</div>\n", highest);
    }
  }
  if (content.empty()) return "";
  return "<figure class=\"heatmaps\"><p class=\"caption\">Attack by defense: mean over the seeds, in "
         "percent. "
         "Low ASR and high PA and CA are good. † and hatched: the attack did not implant in the undefended "
         "model, so it is left out of the mean over attacks. ✕: trainings that failed.</p>\n" +
         choices("poison rate", content) + "</figure>\n";
}

std::string series_legend(const Comparison& comparison) {
  std::string content = "<ul class=\"legend\">";
  for (std::size_t defense = 0; defense < comparison.defenses.size(); ++defense) {
    content += "<li>" + series_key(comparison.series(defense)) + html(comparison.defenses[defense]) + "</li>";
  }
  return content + "</ul>\n";
}

std::string panel(const std::string& title, const std::string& chart) {
  return chart.empty() ? "" : "<figure><figcaption><b>" + title + "</b></figcaption>" + chart + "</figure>\n";
}

std::size_t rates_of(const Comparison& comparison) {
  return static_cast<std::size_t>(
      std::count_if(comparison.grids.begin(), comparison.grids.end(),
                    [](const Comparison::Grid& grid) { return grid.rate.has_value(); }));
}

}  // namespace

std::string comparison_section(const std::vector<Comparison>& comparisons) {
  const bool several_attacks =
      std::any_of(comparisons.begin(), comparisons.end(), [](const Comparison& comparison) {
        return comparison.attacks.size() > 1 &&
               std::any_of(metrics.begin(), metrics.end(),
                           [&](const Metric& metric) { return any_figure(comparison, metric.figure); });
      });
  if (!several_attacks) return "";
  std::string notes;
  for (const Comparison& comparison : comparisons) {
    const std::string note = assumption_note(comparison);
    if (!note.empty()) notes += "<p class=\"caption\">" + html(note) + ".</p>\n";
  }
  return section("Attacks and defenses", heat_maps(comparisons) + average_table(comparisons) + notes);
}

std::string rate_section(const std::vector<Comparison>& comparisons) {
  std::string content;
  for (const Comparison& comparison : comparisons) {
    if (rates_of(comparison) < 2) continue;
    std::string alternatives;
    for (const Metric& metric : metrics) {
      std::string panels;
      if (comparison.attacks.size() > 1) {
        panels += panel("mean over attacks", mean_rate_chart(comparison, metric.name, metric.figure));
      }
      for (std::size_t attack = 0; attack < comparison.attacks.size(); ++attack) {
        panels += panel(html(comparison.attacks[attack]),
                        rate_chart(comparison, attack, metric.name, metric.figure));
      }
      if (panels.empty()) continue;
      alternatives += choice(metric.name, "<div class=\"multiples\">\n" + panels + "</div>\n");
    }
    if (alternatives.empty()) continue;
    const std::string title = title_of(comparisons, comparison);
    content += (title.empty() ? "" : "<h3>" + html(title) + "</h3>\n") + series_legend(comparison) +
               choices("figure", alternatives);
  }
  if (content.empty()) return "";
  return section(
      "Robustness over the poison rate",
      "<p class=\"caption\">Mean over the seeds with one standard deviation, over the share of the "
      "training set that is poisoned (rates at equal distances). Hollow marks: the attack did not "
      "implant; the mean over attacks leaves those out and shows the deviation over attacks.</p>\n" +
          content);
}

std::string cost_section(const std::vector<Comparison>& comparisons) {
  std::string content;
  for (const Comparison& comparison : comparisons) {
    const std::vector<Cost> found = costs(comparison);
    const std::string charts = time_chart(comparison, found) + memory_chart(comparison, found);
    if (charts.empty()) continue;
    const std::string title = title_of(comparisons, comparison);
    content += (title.empty() ? "" : "<h3>" + html(title) + "</h3>\n") + "<div class=\"figures\">\n" +
               charts + "</div>\n";
  }
  if (content.empty()) return "";
  return section("Cost",
                 "<p class=\"caption\">Training time and peak memory as multiples of the undefended model of "
                 "the same attack, rate and seed: mean, and thin the smallest to the largest; behind it the "
                 "mean in absolute terms.</p>\n" +
                     content);
}

}  // namespace mcci::report
