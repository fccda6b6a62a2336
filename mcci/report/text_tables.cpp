#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "mcci/report/comparison.hpp"
#include "mcci/report/format.hpp"
#include "mcci/report/report.hpp"
#include "mcci/report/result.hpp"
#include "mcci/report/summary.hpp"

namespace mcci {
namespace {

using report::Cell;
using report::Count;
using report::Row;

// Cells of equal numbers per line; the first line is the head.
using Grid = std::vector<std::vector<std::string>>;

std::string bracketed(const std::string& name, const std::string& detail) {
  return detail.empty() ? name : name + " (" + detail + ")";
}

struct Names {
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> of_row;  // one line per row
  std::string shared;                            // "cifar10, resnet18"
};

// A name that all rows have in common stands once beside the table instead of in every line; the defense
// always has its column.
Names names_of(const std::vector<Row>& rows) {
  Names names;
  names.of_row.resize(rows.size());
  const auto add = [&](const std::string& head, bool may_be_shared, const auto& name_of) {
    const std::string first = name_of(rows.front());
    const bool shared = may_be_shared && std::all_of(rows.begin(), rows.end(),
                                                     [&](const Row& row) { return name_of(row) == first; });
    if (shared) {
      names.shared += (names.shared.empty() ? "" : ", ") + first;
      return;
    }
    names.head.push_back(head);
    for (std::size_t i = 0; i < rows.size(); ++i) names.of_row[i].push_back(name_of(rows[i]));
  };
  add("data set", true, [](const Row& row) { return row.first().dataset; });
  add("model", true, [](const Row& row) { return row.first().model; });
  add("attack", true, [](const Row& row) { return bracketed(row.first().attack, attack_detail(row)); });
  add("defense", false, [](const Row& row) {
    std::string detail = defense_detail(row);
    const std::string failed = error_detail(row);
    if (!failed.empty()) detail += (detail.empty() ? "" : ", ") + failed;
    return bracketed(row.first().defense, detail);
  });
  return names;
}

std::string marked(const std::string& value, bool fails, const std::string& alarm) {
  return fails ? value + " " + alarm : value;
}

std::string limits(const std::vector<Row>& rows) {
  const bool has_intervals = std::any_of(rows.begin(), rows.end(), [](const Row& row) {
    return row.measure(&Cell::ca).interval() || row.measure(&Cell::asr).interval();
  });
  return "▲ ASR above " + report::fixed(report::asr_limit, 0) + " %, ▼ PA more than " +
         report::fixed(report::pa_gap_limit, 0) +
         " points below CA; ± is the sample standard deviation over seeds" +
         (has_intervals ? ", 95 % half the confidence interval of the mean (Student's t)." : ".");
}

// A figure that is shown where any row has it.
struct Extra {
  const char* name;
  std::optional<double> Cell::*figure;
  int decimals;
};

std::vector<Extra> extras_of(const std::vector<Row>& rows) {
  std::vector<Extra> extras;
  for (const Extra& extra :
       {Extra{"oracle's ASR", &Cell::oracle_asr, 1}, Extra{"PA/oracle", &Cell::pa_over_oracle, 3},
        Extra{"DER", &Cell::der, 3}, Extra{"MiB", &Cell::peak_memory_mib, 0}}) {
    if (report::any(rows, extra.figure)) extras.push_back(extra);
  }
  return extras;
}

std::string run_of(const Cell& cell) {
  std::string rate = cell.rate.value_or(0) > 0 ? ", " + report::share_text(cell.rate) : "";
  return cell.attack + rate + ", " + bracketed(cell.defense, cell.preset) + ", seed " +
         std::to_string(cell.seed);
}

// "run: message" for each cell without a model.
std::vector<std::string> errors_of(const std::vector<Row>& rows) {
  std::vector<std::string> errors;
  for (const Row& row : rows) {
    for (const Cell* cell : row.cells) {
      if (!cell->error.empty()) errors.push_back(run_of(*cell) + ": " + cell->error);
    }
  }
  return errors;
}

// ------------------------------------------------------------------------------------------------ Markdown

std::string markdown_figure(const Row& row, std::optional<double> Cell::*figure,
                            std::optional<Count> Cell::*count, bool (*fails)(const Cell&),
                            const std::string& alarm) {
  const bool failed =
      std::any_of(row.cells.begin(), row.cells.end(), [&](const Cell* cell) { return fails(*cell); });
  std::string detail = interval_text(row.measure(figure), 1);
  const std::string values = detail_text(row, figure, count);
  if (!values.empty()) detail += (detail.empty() ? "" : "; ") + values;
  return marked(mean_text(row.measure(figure), 1), failed, alarm) +
         (detail.empty() ? "" : "<br><sub>" + detail + "</sub>");
}

bool never(const Cell&) { return false; }

std::vector<std::string> markdown_row(const std::vector<std::string>& names, const Row& row,
                                      const std::vector<Extra>& extras) {
  std::vector<std::string> line;
  for (const std::string& name : names) line.push_back(report::markdown(name));
  line.push_back(row.seeds());
  line.push_back(markdown_figure(row, &Cell::ca, &Cell::ca_count, never, ""));
  line.push_back(markdown_figure(row, &Cell::asr, &Cell::asr_count, report::asr_fails, "▲"));
  line.push_back(markdown_figure(row, &Cell::pa, &Cell::pa_count, report::pa_fails, "▼"));
  for (const Extra& extra : extras) line.push_back(mean_text(row.measure(extra.figure), extra.decimals));
  line.push_back(mean_text(row.measure(&Cell::auroc), 3));
  line.push_back(report::seconds_text(row.measure(&Cell::seconds).mean()));
  return line;
}

std::string markdown_line(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) line += " " + cell + " |";
  return line + "\n";
}

// ---------------------------------------------------------------------------------------------------- text

std::string with_count(const std::optional<double>& percent, const std::optional<Count>& count) {
  return bracketed(report::fixed(percent, 1), report::count_text(count));
}

void append_text_rows(const std::vector<std::string>& names, const Row& row, const std::vector<Extra>& extras,
                      Grid& grid) {
  std::vector<std::string> front;
  for (const std::string& name : names) front.push_back(report::plain(name));
  for (const Cell* cell : row.cells) {
    std::vector<std::string> line = front;
    line.push_back(std::to_string(cell->seed));
    line.push_back(with_count(cell->ca, cell->ca_count));
    line.push_back(marked(with_count(cell->asr, cell->asr_count), asr_fails(*cell), "▲"));
    line.push_back(marked(with_count(cell->pa, cell->pa_count), pa_fails(*cell), "▼"));
    for (const Extra& extra : extras) line.push_back(report::fixed(cell->*extra.figure, extra.decimals));
    line.push_back(report::fixed(cell->auroc, 3));
    line.push_back(report::fixed(cell->seconds, 0));
    grid.push_back(std::move(line));
  }
  if (row.cells.size() < 2) return;
  const auto append = [&](const std::string& name, const auto& text_of) {
    std::vector<std::string> line = front;
    line.push_back(name);
    for (const auto figure : {&Cell::ca, &Cell::asr, &Cell::pa})
      line.push_back(text_of(row.measure(figure), 1));
    for (const Extra& extra : extras) line.push_back(text_of(row.measure(extra.figure), extra.decimals));
    line.push_back(text_of(row.measure(&Cell::auroc), 3));
    line.push_back(text_of(row.measure(&Cell::seconds), 0));
    grid.push_back(std::move(line));
  };
  append("mean", report::mean_text);
  append("95 %", [](const report::Measure& measure, int decimals) {
    const std::optional<double> interval = measure.interval();
    return interval ? "± " + report::fixed(*interval, decimals) : std::string();
  });
}

// In characters: every byte of UTF-8 but the continuing ones begins one.
std::size_t display_width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }));
}

std::string aligned(const Grid& grid) {
  std::vector<std::size_t> widths(grid.front().size());
  for (const auto& line : grid) {
    for (std::size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], display_width(line[c]));
  }
  std::string result;
  for (const auto& line : grid) {
    std::string text;
    for (std::size_t c = 0; c < line.size(); ++c) {
      text += line[c] + std::string(widths[c] - display_width(line[c]) + 2, ' ');
    }
    text.erase(text.find_last_not_of(' ') + 1);
    result += text + "\n";
  }
  return result;
}

// ------------------------------------------------------------------------------------------- Markdown page

// CA / ASR / PA by attack and defense; CA of the clean set.
std::string markdown_grid(const report::Comparison& comparison, const report::Comparison::Grid& grid) {
  const std::vector<std::size_t> defenses = comparison.defenses_in(grid);
  std::vector<std::string> head = {"attack"}, rule = {"---"};
  for (const std::size_t defense : defenses) {
    head.push_back(report::markdown(comparison.defenses[defense]));
    rule.emplace_back("---:");
  }
  const auto figures = [](const auto& mean_of) {
    std::string text;
    for (const auto figure : {&Cell::ca, &Cell::asr, &Cell::pa}) {
      text += (text.empty() ? "" : " / ") + report::fixed(mean_of(figure), 1);
    }
    return text;
  };
  std::string table = markdown_line(head) + markdown_line(rule);
  const std::vector<std::size_t> attacks = comparison.attacks_in(grid);
  for (const std::size_t attack : attacks) {
    std::vector<std::string> line = {report::markdown(comparison.attacks[attack])};
    for (const std::size_t defense : defenses) {
      const Row* row = comparison.at(grid, attack, defense);
      if (row == nullptr) {
        line.emplace_back();
        continue;
      }
      const bool failed = row->errors() == row->cells.size();
      line.push_back((failed ? "failed" : figures([&](auto figure) { return row->measure(figure).mean(); })) +
                     (row->implanted() ? "" : " †"));
    }
    table += markdown_line(line);
  }
  if (attacks.size() > 1) {
    std::vector<std::string> mean = {"**mean**"};
    for (const std::size_t defense : defenses) {
      mean.push_back(
          "**" + figures([&](auto figure) { return comparison.over_attacks(grid, defense, figure).mean(); }) +
          "**");
    }
    table += markdown_line(mean);
  }
  std::vector<std::string> clean = {"clean set"};
  for (const std::size_t defense : defenses) {
    const Row* row = comparison.clean[defense];
    clean.push_back(row == nullptr ? "" : report::fixed(row->measure(&Cell::ca).mean(), 1));
  }
  const bool any =
      std::any_of(clean.begin() + 1, clean.end(), [](const auto& text) { return !text.empty(); });
  return any ? table + markdown_line(clean) : table;
}

std::string markdown_comparison(const std::vector<Json>& results) {
  const std::vector<Cell> cells = report::parse_cells(results);
  const std::vector<Row> rows = report::summarise(cells);
  std::string content;
  for (const report::Comparison& comparison : report::compare(rows)) {
    if (comparison.attacks.size() < 2) continue;
    for (const report::Comparison::Grid& grid : comparison.grids) {
      content += "### " + report::markdown(comparison.dataset) + ", " + report::markdown(comparison.model) +
                 (grid.rate ? ", " + report::share_text(grid.rate) + " poisoned" : "") + "\n\n" +
                 markdown_grid(comparison, grid) + "\n";
    }
    if (const std::string note = report::assumption_note(comparison); !note.empty()) {
      content += report::markdown(note) + ".\n\n";
    }
  }
  if (content.empty()) return "";
  return "## Attacks and defenses\n\nCA / ASR / PA in percent, means over the seeds. †: the attack did not "
         "implant in the undefended model, so the mean over attacks leaves it out.\n\n" +
         content;
}

// A title that several results have is told apart by the preset, where each has one.
std::string heading_of(const std::vector<report::Result>& results, const report::Result& result) {
  const auto namesakes = std::count_if(results.begin(), results.end(), [&](const report::Result& other) {
    return other.title == result.title;
  });
  const bool one_preset =
      !result.cells.empty() && std::all_of(result.cells.begin(), result.cells.end(), [&](const Cell& cell) {
        return cell.preset == result.cells.front().preset;
      });
  return namesakes > 1 && one_preset ? bracketed(result.title, result.cells.front().preset) : result.title;
}

std::string markdown_section(const report::Result& result, const std::string& heading, const Json& json) {
  std::string table = render_markdown_table({json});
  if (const std::vector<Row> rows = report::summarise(result.cells); report::is_large(rows)) {
    table = "<details><summary>All " + std::to_string(rows.size()) + " rows</summary>\n\n" + table +
            "\n</details>\n";
  }
  std::string text = "## " + report::markdown(heading) + "\n\n`" + report::plain(result.command) + "`, " +
                     report::markdown(result.created) + "\n\n" + table + "\nMeasured with";
  for (std::size_t e = 0; e < result.environment.size(); ++e) {
    const auto& [name, value] = result.environment[e];
    text += (e == 0 ? " " : ", ") + report::markdown(name) + " " + report::markdown(value);
  }
  return text + ".\n\n- CA: " + report::markdown(result.ca_convention) +
         "\n- ASR: " + report::markdown(result.asr_convention) +
         "\n- PA: " + report::markdown(result.pa_convention) + "\n";
}

}  // namespace

std::string render_markdown_table(const std::vector<Json>& results) {
  const std::vector<Cell> cells = report::parse_cells(results);
  const std::vector<Row> rows = report::summarise(cells);
  if (rows.empty()) return "No results.\n";

  const Names names = names_of(rows);
  const std::vector<Extra> extras = extras_of(rows);
  std::vector<std::string> head = names.head;
  std::vector<std::string> rule(head.size(), "---");
  const auto add = [&](const std::string& figure) {
    head.push_back(figure);
    rule.emplace_back("---:");
  };
  for (const char* figure : {"seeds", "CA %", "ASR %", "PA %"}) add(figure);
  for (const Extra& extra : extras) add(extra.name);
  for (const char* figure : {"AUROC", "time"}) add(figure);
  std::string table = markdown_line(head) + markdown_line(rule);
  for (std::size_t i = 0; i < rows.size(); ++i)
    table += markdown_line(markdown_row(names.of_row[i], rows[i], extras));
  table += "\n" + (names.shared.empty() ? "" : "All: " + report::markdown(names.shared) + ". ") +
           limits(rows) + "\n";
  const std::vector<std::string> errors = errors_of(rows);
  if (!errors.empty()) table += "\nFailed:\n\n";
  for (const std::string& error : errors) table += "- " + report::markdown(error) + "\n";
  return table;
}

std::string render_markdown_page(const std::vector<Json>& results) {
  std::vector<report::Result> parsed;
  for (std::size_t i = 0; i < results.size(); ++i) {
    parsed.push_back(report::parse_result(results[i], "result " + std::to_string(i + 1)));
  }
  std::string page = markdown_comparison(results);
  for (std::size_t i = 0; i < results.size(); ++i) {
    page += (i == 0 ? "" : "\n") + markdown_section(parsed[i], heading_of(parsed, parsed[i]), results[i]);
  }
  return page;
}

std::string render_text_table(const Json& json) {
  const report::Result result = report::parse_result(json, "result.json");
  const std::vector<Row> rows = report::summarise(result.cells);
  std::string text = report::plain(result.title) + "\n";
  if (rows.empty()) return text;
  const Names names = names_of(rows);
  if (!names.shared.empty()) text += report::plain(names.shared) + "\n";

  const std::vector<Extra> extras = extras_of(rows);
  Grid grid(1, names.head);
  for (const char* figure : {"seed", "CA %", "ASR %", "PA %"}) grid.front().emplace_back(figure);
  for (const Extra& extra : extras) grid.front().emplace_back(extra.name);
  for (const char* figure : {"AUROC", "seconds"}) grid.front().emplace_back(figure);
  for (std::size_t i = 0; i < rows.size(); ++i) append_text_rows(names.of_row[i], rows[i], extras, grid);
  text += "\n" + aligned(grid) + "\n" + limits(rows) + "\n";
  for (const std::string& error : errors_of(rows)) text += "failed: " + report::plain(error) + "\n";
  return text;
}

}  // namespace mcci
