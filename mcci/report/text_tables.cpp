#include <algorithm>
#include <string>
#include <utility>
#include <vector>

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
  add("defense", false, [](const Row& row) { return bracketed(row.first().defense, defense_detail(row)); });
  return names;
}

std::string marked(const std::string& value, bool fails, const std::string& alarm) {
  return fails ? value + " " + alarm : value;
}

std::string limits() {
  return "▲ ASR above " + report::fixed(report::asr_limit, 0) + " %, ▼ PA more than " +
         report::fixed(report::pa_gap_limit, 0) +
         " points below CA; ± is the sample standard deviation over seeds.";
}

// ------------------------------------------------------------------------------------------------ Markdown

std::string markdown_figure(const Row& row, std::optional<double> Cell::*figure,
                            std::optional<Count> Cell::*count, bool (*fails)(const Cell&),
                            const std::string& alarm) {
  const bool failed =
      std::any_of(row.cells.begin(), row.cells.end(), [&](const Cell* cell) { return fails(*cell); });
  const std::string detail = detail_text(row, figure, count);
  return marked(mean_text(row.measure(figure), 1), failed, alarm) +
         (detail.empty() ? "" : "<br><sub>" + detail + "</sub>");
}

bool never(const Cell&) { return false; }

std::vector<std::string> markdown_row(const std::vector<std::string>& names, const Row& row) {
  std::vector<std::string> line;
  for (const std::string& name : names) line.push_back(report::markdown(name));
  line.push_back(row.seeds());
  line.push_back(markdown_figure(row, &Cell::ca, &Cell::ca_count, never, ""));
  line.push_back(markdown_figure(row, &Cell::asr, &Cell::asr_count, report::asr_fails, "▲"));
  line.push_back(markdown_figure(row, &Cell::pa, &Cell::pa_count, report::pa_fails, "▼"));
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

void append_text_rows(const std::vector<std::string>& names, const Row& row, Grid& grid) {
  std::vector<std::string> front;
  for (const std::string& name : names) front.push_back(report::plain(name));
  for (const Cell* cell : row.cells) {
    std::vector<std::string> line = front;
    line.push_back(std::to_string(cell->seed));
    line.push_back(with_count(cell->ca, cell->ca_count));
    line.push_back(marked(with_count(cell->asr, cell->asr_count), asr_fails(*cell), "▲"));
    line.push_back(marked(with_count(cell->pa, cell->pa_count), pa_fails(*cell), "▼"));
    line.push_back(report::fixed(cell->auroc, 3));
    line.push_back(report::fixed(cell->seconds, 0));
    grid.push_back(std::move(line));
  }
  if (row.cells.size() < 2) return;
  front.emplace_back("mean");
  for (const auto figure : {&Cell::ca, &Cell::asr, &Cell::pa})
    front.push_back(mean_text(row.measure(figure), 1));
  front.push_back(mean_text(row.measure(&Cell::auroc), 3));
  front.push_back(mean_text(row.measure(&Cell::seconds), 0));
  grid.push_back(std::move(front));
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

}  // namespace

std::string render_markdown_table(const std::vector<Json>& results) {
  std::vector<Cell> cells;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const report::Result result = report::parse_result(results[i], "result " + std::to_string(i + 1));
    cells.insert(cells.end(), result.cells.begin(), result.cells.end());
  }
  const std::vector<Row> rows = report::summarise(cells);
  if (rows.empty()) return "No results.\n";

  const Names names = names_of(rows);
  std::vector<std::string> head = names.head;
  std::vector<std::string> rule(head.size(), "---");
  for (const char* figure : {"seeds", "CA %", "ASR %", "PA %", "AUROC", "time"}) {
    head.emplace_back(figure);
    rule.emplace_back("---:");
  }
  std::string table = markdown_line(head) + markdown_line(rule);
  for (std::size_t i = 0; i < rows.size(); ++i)
    table += markdown_line(markdown_row(names.of_row[i], rows[i]));
  return table + "\n" + (names.shared.empty() ? "" : "All: " + report::markdown(names.shared) + ". ") +
         limits() + "\n";
}

std::string render_markdown_page(const std::vector<Json>& results) {
  std::string page;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const report::Result result = report::parse_result(results[i], "result " + std::to_string(i + 1));
    page += (i == 0 ? "## " : "\n## ") + report::markdown(result.title) + "\n\n`" +
            report::plain(result.command) + "`, " + report::markdown(result.created) + "\n\n" +
            render_markdown_table({results[i]}) + "\nMeasured with";
    for (std::size_t e = 0; e < result.environment.size(); ++e) {
      const auto& [name, value] = result.environment[e];
      page += (e == 0 ? " " : ", ") + report::markdown(name) + " " + report::markdown(value);
    }
    page += ".\n\n- CA: " + report::markdown(result.ca_convention) +
            "\n- ASR: " + report::markdown(result.asr_convention) +
            "\n- PA: " + report::markdown(result.pa_convention) + "\n";
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

  Grid grid(1, names.head);
  for (const char* figure : {"seed", "CA %", "ASR %", "PA %", "AUROC", "seconds"})
    grid.front().emplace_back(figure);
  for (std::size_t i = 0; i < rows.size(); ++i) append_text_rows(names.of_row[i], rows[i], grid);
  return text + "\n" + aligned(grid) + "\n" + limits() + "\n";
}

}  // namespace mcci
