#include "mcci/report/page_tables.hpp"

#include <algorithm>
#include <set>

#include "mcci/report/chart.hpp"
#include "mcci/report/format.hpp"
#include "mcci/report/markup.hpp"

namespace mcci::report {
namespace {

// With more classes than fit in a table's columns, only the least accurate are shown.
constexpr std::size_t max_class_columns = 20, lowest_classes = 12;

Column percent_column(const std::string& name, std::optional<double> Cell::*figure,
                      std::optional<Count> Cell::*count, Failure (*failure)(const Row&)) {
  return {name, "number", [=](const Row& row) {
            return figure_cell(name + " %", row.measure(figure), 1, detail_text(row, figure, count),
                               failure(row));
          }};
}

Failure never(const Row&) { return {}; }

void add_figures_of_merit(std::vector<Column>& columns) {
  columns.push_back(percent_column("CA", &Cell::ca, &Cell::ca_count, never));
  columns.push_back(percent_column("ASR", &Cell::asr, &Cell::asr_count, asr_failure));
  columns.push_back(percent_column("PA", &Cell::pa, &Cell::pa_count, pa_failure));
}

Column figure_column(const std::string& name, std::optional<double> Cell::*figure, int decimals) {
  return {name, "number", [=](const Row& row) { return figure_cell(name, row.measure(figure), decimals); }};
}

Column time_column() {
  return {"time", "number", [](const Row& row) {
            const std::optional<double> seconds = row.measure(&Cell::seconds).mean();
            const std::optional<double> mib = row.measure(&Cell::peak_memory_mib).mean();
            return "<td class=\"number\" data-label=\"time\" data-value=\"" +
                   (seconds ? fixed(*seconds, 3) : "") + "\">" + seconds_text(seconds) +
                   (mib ? "<small>" + memory_text(mib) + "</small>" : "") + "</td>";
          }};
}

Column seed_column() {
  return {"seed", "number", [](const Row& row) {
            return name_cell(row.seeds(), std::to_string(row.first().seed), "number seeds");
          }};
}

Column title_column(const std::vector<Row>& rows, const std::string& head) {
  return {head, "",
          [&rows](const Row& row) { return heading_cell(row_title(rows, row), row.first().attack); }};
}

// The oracle is the undefended model trained on the clean set, on the same triggered images.
Column oracle_column() {
  return {"PA / oracle", "number", [](const Row& row) {
            const std::optional<double> oracle = row.measure(&Cell::oracle_pa).mean();
            return figure_cell("PA / oracle", row.measure(&Cell::pa_over_oracle), 3,
                               oracle ? "of " + fixed(*oracle, 1) : "");
          }};
}

// A defense and, marked, the seeds for which its training failed.
std::string defense_cell(const Row& row) {
  const std::string failed = error_detail(row);
  return name_cell(with_detail(row.first().defense, defense_detail(row)) +
                       (failed.empty() ? "" : "<small class=\"wanted\">✕ " + failed + "</small>"),
                   row.first().defense, "defense");
}

std::vector<Column> result_columns(const std::vector<Row>& rows) {
  const auto named = [](const std::string& head, std::string Cell::*name) {
    return Column{head, "",
                  [=](const Row& row) { return name_cell(html(row.first().*name), row.first().*name); }};
  };
  std::vector<Column> columns;
  columns.push_back({"attack", "", [](const Row& row) {
                       return heading_cell(with_detail(row.first().attack, attack_detail(row)),
                                           row.first().attack);
                     }});
  if (varies(rows, &Cell::dataset)) columns.push_back(named("data set", &Cell::dataset));
  if (varies(rows, &Cell::model)) columns.push_back(named("network", &Cell::model));
  columns.push_back({"defense", "", defense_cell});
  columns.push_back(seed_column());
  add_figures_of_merit(columns);
  columns.push_back(
      {"<span class=\"hidden\">CA, ASR and PA drawn from 0 to 100</span><span class=\"scale\" "
       "aria-hidden=\"true\"><span>0</span><span>50</span><span>100</span></span>",
       "range", [](const Row& row) { return "<td class=\"range\">" + strip_chart(row) + "</td>"; }});
  if (any(rows, &Cell::oracle_asr)) columns.push_back(figure_column("oracle's ASR", &Cell::oracle_asr, 1));
  if (any(rows, &Cell::pa_over_oracle)) columns.push_back(oracle_column());
  if (any(rows, &Cell::der)) columns.push_back(figure_column("DER", &Cell::der, 3));
  if (any(rows, &Cell::auroc)) columns.push_back(figure_column("AUROC", &Cell::auroc, 3));
  columns.push_back(time_column());
  return columns;
}

bool several_seeds(const std::vector<Row>& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.cells.size() > 1; });
}

std::string notes(const Result& result, const std::vector<Row>& rows) {
  std::string content = "<ul class=\"legend\"><li>" + legend_key("ca") + "CA</li><li>" + legend_key("pa") +
                        "PA</li><li>" + legend_key("asr") + "ASR</li></ul>\n<dl class=\"notes\">\n";
  const auto note = [&](const std::string& name, const std::string& meaning) {
    if (!meaning.empty()) content += "<dt>" + name + "</dt><dd>" + meaning + "</dd>\n";
  };
  const auto counted = [&](const std::string& convention, std::optional<Count> Cell::*count) {
    const std::string total = total_text(rows, count);
    return html(convention) + (convention.empty() || total.empty() ? "" : ", of " + total + " images");
  };
  note("CA", counted(result.ca_convention, &Cell::ca_count));
  note("ASR", counted(result.asr_convention, &Cell::asr_count));
  note("PA", counted(result.pa_convention, &Cell::pa_count));
  if (any(rows, &Cell::oracle_asr)) {
    note(
        "oracle's ASR",
        "ASR of the undefended model trained on the clean set: images that it takes for the attacker's class "
        "anyway");
  }
  if (any(rows, &Cell::pa_over_oracle)) {
    note("PA / oracle",
         "PA over the accuracy, on the same triggered images, of the undefended model trained on the clean "
         "set; "
         "below, smaller, that accuracy in percent");
  }
  if (any(rows, &Cell::der)) {
    note(
        "DER",
        "defense effectiveness rate, (max(0, ΔASR) − max(0, ΔCA) + 1) / 2 with the drops from the undefended "
        "model as shares; 0.5: nothing gained");
  }
  if (any(rows, &Cell::auroc)) {
    note("AUROC", "of the suspicion of training images against the truth; 0.5 is chance");
  }
  if (any(rows, &Cell::peak_memory_mib)) note("time", "of the training; below, smaller, its peak of memory");
  note("▲ ▼", "ASR above " + fixed(asr_limit, 0) + " %; PA more than " + fixed(pa_gap_limit, 0) +
                  " points below CA");
  if (several_seeds(rows)) {
    note("±",
         "mean and sample standard deviation over the seeds; below, smaller, half the 95 % interval of the "
         "mean "
         "(Student’s t) and the single values");
  }
  if (std::any_of(rows.begin(), rows.end(), [](const Row& row) { return !row.implanted(); })) {
    note("did not implant",
         "without a defense, too, ASR stays below 50 %: a low ASR is no merit here, and no average over "
         "attacks "
         "counts the row");
  }
  if (std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.errors() > 0; })) {
    note("✕ failed", "trainings that ended in an error; figures are of the other seeds");
  }
  return content + "</dl>\n";
}

// The runs behind the means, one row each.
std::string single_runs(const std::vector<Row>& rows) {
  if (!several_seeds(rows)) return "";
  std::vector<Row> runs;
  for (const Row& row : rows) {
    for (const Cell* cell : row.cells) runs.push_back({{cell}, row.distinction});
  }
  std::vector<Column> columns = {title_column(rows, "run"), seed_column()};
  add_figures_of_merit(columns);
  if (any(rows, &Cell::der)) columns.push_back(figure_column("DER", &Cell::der, 3));
  columns.push_back(figure_column("AUROC", &Cell::auroc, 3));
  columns.push_back(time_column());
  return folded("Single runs", table("sortable cards", "The runs behind the means.", columns, runs));
}

Measure class_accuracy(const Row& row, std::size_t c) {
  return row.measure(
      [&](const Cell& cell) { return c < cell.per_class_ca.size() ? cell.per_class_ca[c] : std::nullopt; });
}

std::string class_table(const std::vector<Row>& rows, const std::vector<std::string>& classes) {
  std::vector<Row> members;
  for (const Row& row : rows) {
    if (row.first().classes == classes && !row.first().per_class_ca.empty()) members.push_back(row);
  }
  std::vector<std::pair<double, std::size_t>> shown;  // accuracy over all rows, class
  for (std::size_t c = 0; c < classes.size(); ++c) {
    Measure over_rows;
    for (const Row& row : members) over_rows.values.push_back(class_accuracy(row, c).mean());
    shown.emplace_back(over_rows.mean().value_or(100), c);
  }
  std::string caption = "Accuracy on clean test images by class, in percent.";
  if (shown.size() > max_class_columns) {
    caption += " The " + std::to_string(lowest_classes) + " least accurate of " +
               std::to_string(classes.size()) + " classes.";
    std::sort(shown.begin(), shown.end());
    shown.resize(lowest_classes);
  }
  std::vector<Column> columns = {title_column(rows, "run")};
  for (const auto& place : shown) {
    columns.push_back({html(classes[place.second]), "number", [c = place.second](const Row& row) {
                         const std::optional<double> accuracy = class_accuracy(row, c).mean();
                         return "<td class=\"number\" style=\"--share:" + fixed(accuracy.value_or(0), 0) +
                                "\">" + fixed(accuracy, 1) + "</td>";
                       }});
  }
  return table("classes", caption, columns, members);
}

std::string accuracy_by_class(const std::vector<Row>& rows) {
  std::string content;
  std::set<std::vector<std::string>> done;
  for (const Row& row : rows) {
    const Cell& cell = row.first();
    if (cell.per_class_ca.empty() || !done.insert(cell.classes).second) continue;
    content += class_table(rows, cell.classes);
  }
  return folded("Accuracy by class", content);
}

std::string option_table(const Options::List& options) {
  if (options.empty()) return "";
  std::string content = "<table class=\"options\"><tbody>\n";
  for (const auto& [name, value] : options) {
    content += "<tr><th scope=\"row\"><code>" + html(name) + "</code></th><td><code>" + html(value) +
               "</code></td></tr>\n";
  }
  return content + "</tbody></table>\n";
}

std::string configuration(const std::vector<Row>& rows) {
  const Options options = compare_options(rows);
  std::string content = option_table(options.common);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (options.own[i].empty()) continue;
    content += "<h3>" + row_title(rows, rows[i]) + "</h3>\n" + option_table(options.own[i]);
  }
  return folded("Configuration", content);
}

}  // namespace

std::string results_section(const Result& result, const std::vector<Row>& rows) {
  if (!any(rows, &Cell::ca) && !any(rows, &Cell::asr) && !any(rows, &Cell::pa)) return "";
  const std::string content =
      table("sortable cards results",
            "Accuracy on clean test images (CA), success of the attack (ASR) and accuracy on triggered test "
            "images (PA), in percent.",
            result_columns(rows), rows, true);
  if (!is_large(rows)) return section("Results", content + notes(result, rows));
  return section("Results", notes(result, rows) + folded("All " + plural(rows.size(), "row"), content));
}

std::string error_section(const std::vector<Row>& rows) {
  std::vector<Row> failed;
  for (const Row& row : rows) {
    for (const Cell* cell : row.cells) {
      if (!cell->error.empty()) failed.push_back({{cell}, row.distinction});
    }
  }
  if (failed.empty()) return "";
  const Column message = {"error", "", [](const Row& row) {
                            return name_cell(html(row.first().error), row.first().error, "message");
                          }};
  return section("Trainings that failed", table("sortable cards errors", "Cells without figures, and why.",
                                                {title_column(rows, "run"), seed_column(), message}, failed));
}

std::string detection_section(const std::vector<Row>& rows) {
  std::vector<Row> found;
  for (const Row& row : rows) {
    const bool has_detection =
        std::any_of(row.cells.begin(), row.cells.end(), [](const Cell* cell) { return cell->detection; });
    if (has_detection) found.push_back(row);
  }
  if (found.empty()) return "";

  const auto column = [](const std::string& head, int decimals, std::optional<double> Detected::*figure) {
    return Column{head, "number", [=](const Row& row) {
                    return figure_cell(head, row.measure([=](const Cell& cell) {
                      return cell.detection ? *cell.detection.*figure : std::nullopt;
                    }),
                                       decimals);
                  }};
  };
  const std::string content =
      table("sortable cards", "Training images flagged at the default threshold of suspicion.",
            {title_column(found, "training set and defense"), column("flagged", 0, &Detected::flagged),
             column("precision", 3, &Detected::precision), column("recall (TPR)", 3, &Detected::recall),
             column("false positive rate", 4, &Detected::false_positive_rate),
             column("threshold", 3, &Detected::threshold), figure_column("AUROC", &Cell::auroc, 3)},
            found);
  return section("Poisoned training images found",
                 is_large(found) ? folded("All " + plural(found.size(), "row"), content) : content);
}

std::string details(const Result& result, const std::vector<Row>& rows) {
  const std::string command = result.command.empty() ? "" : "<pre>" + html(result.command) + "</pre>\n";
  const std::string content = single_runs(rows) + accuracy_by_class(rows) + configuration(rows) +
                              folded("Environment", option_table(result.environment)) +
                              folded("Command", command);
  return content.empty() ? "" : "<div class=\"details\">\n" + content + "</div>\n";
}

}  // namespace mcci::report
