#include "mcci/report/markup.hpp"

#include <algorithm>
#include <tuple>

#include "mcci/report/format.hpp"

namespace mcci::report {
namespace {

bool same_attack(const Row& a, const Row& b) {
  const auto attack = [](const Cell& cell) {
    return std::tie(cell.dataset, cell.attack, cell.attack_preset, cell.rate);
  };
  return attack(a.first()) == attack(b.first());
}

Failure failure(const Row& row, bool (*fails)(const Cell&), const char* sign, const char* reason) {
  const auto failing =
      std::count_if(row.cells.begin(), row.cells.end(), [&](const Cell* cell) { return fails(*cell); });
  return {static_cast<std::size_t>(failing), sign, reason};
}

}  // namespace

std::string plural(std::size_t n, const std::string& noun) {
  return with_separators(static_cast<std::int64_t>(n)) + " " + noun + (n == 1 ? "" : "s");
}

std::string section(const std::string& heading, const std::string& content) {
  return content.empty() ? "" : "<section>\n<h2>" + heading + "</h2>\n" + content + "</section>\n";
}

std::string folded(const std::string& heading, const std::string& content) {
  return content.empty() ? "" : "<details><summary>" + heading + "</summary>\n" + content + "</details>\n";
}

std::string with_detail(const std::string& name_text, const std::string& detail_text) {
  return html(name_text) + (detail_text.empty() ? "" : " <small>" + html(detail_text) + "</small>");
}

std::string row_title(const std::vector<Row>& rows, const Row& row) {
  const Cell& cell = row.first();
  std::string title;
  if (varies(rows, &Cell::dataset)) title += html(cell.dataset) + " · ";
  if (varies(rows, &Cell::model)) title += html(cell.model) + " · ";
  return "<span class=\"inline\">" + title + with_detail(cell.attack, attack_detail(row)) + " · " +
         with_detail(cell.defense, defense_detail(row)) + "</span>";
}

std::string choices(const std::string& name_text, const std::string& content) {
  return "<div class=\"choices\" data-name=\"" + html(name_text) + "\">\n" + content + "</div>\n";
}

std::string choice(const std::string& name_text, const std::string& content, bool shown_first) {
  return "<div class=\"choice\" data-name=\"" + html(name_text) + "\"" + (shown_first ? " data-first" : "") +
         "><h3>" + html(name_text) + "</h3>\n" + content + "</div>\n";
}

std::string table_around(const std::string& style, const std::string& caption,
                         const std::vector<Column>& columns, const std::string& body) {
  const bool sortable = style.find("sortable") != std::string::npos;
  std::string content = "<div class=\"scroll\"><table class=\"wide " + style + "\">\n<caption><span>" +
                        caption + "</span></caption>\n<thead><tr>";
  for (const Column& column : columns) {
    const bool has_button = sortable && column.style != "range";
    content += "<th scope=\"col\" class=\"" + column.style + "\">" +
               (has_button ? "<button type=\"button\">" + column.head + "</button>" : column.head) + "</th>";
  }
  return content + "</tr></thead>\n<tbody>\n" + body + "</tbody>\n</table></div>\n";
}

std::string table(const std::string& style, const std::string& caption, const std::vector<Column>& columns,
                  const std::vector<Row>& rows, bool by_attack) {
  std::string body;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool follows = by_attack && i > 0 && same_attack(rows[i - 1], rows[i]);
    const Cell& cell = rows[i].first();
    body += std::string("<tr class=\"") + (follows ? "follows" : "leads") + "\" data-attack=\"" +
            html(cell.attack) + "\" data-rate=\"" + (cell.rate ? share_text(cell.rate) : "") +
            "\" data-defense=\"" + html(cell.defense) + "\">";
    for (const Column& column : columns) body += column.cell(rows[i]);
    body += "</tr>\n";
  }
  return table_around(style, caption, columns, body);
}

Failure asr_failure(const Row& row) { return failure(row, asr_fails, "▲", "ASR too high"); }

Failure pa_failure(const Row& row) { return failure(row, pa_fails, "▼", "PA far below CA"); }

std::string figure_cell(const std::string& label, const Measure& measure, int decimals,
                        const std::string& detail, const Failure& failure) {
  const std::optional<double> mean = measure.mean();
  const std::optional<double> deviation = measure.deviation();
  const std::string style = std::string("number") + (decimals > 1 ? " share" : "") +
                            (failure.cells > 0 ? " fails" : "") + (mean ? "" : " missing");
  std::string cell = "<td class=\"" + style + "\" data-label=\"" + label + "\" data-value=\"" +
                     (mean ? fixed(*mean, 6) : "") + "\">";
  if (failure.cells > 0) {
    cell += std::string("<span class=\"alarm\" aria-hidden=\"true\">") + failure.sign +
            "</span><span class=\"hidden\">" + failure.reason + ": </span>";
  }
  cell += fixed(mean, decimals);
  if (deviation) cell += " <span class=\"deviation\">± " + fixed(*deviation, decimals) + "</span>";
  const std::string interval = interval_text(measure, decimals);
  if (!interval.empty()) cell += "<small class=\"interval\">" + interval + "</small>";
  if (!detail.empty()) cell += "<small>" + detail + "</small>";
  if (failure.cells > 0 && failure.cells < measure.values.size()) {
    cell += "<small>fails in " + std::to_string(failure.cells) + " of " +
            std::to_string(measure.values.size()) + "</small>";
  }
  return cell + "</td>";
}

std::string heading_cell(const std::string& content, const std::string& sort_text) {
  return "<th scope=\"row\" class=\"name attack\" data-value=\"" + html(sort_text) + "\">" + content +
         "</th>";
}

std::string name_cell(const std::string& content, const std::string& sort_text, const std::string& style) {
  return "<td class=\"name " + style + "\" data-value=\"" + html(sort_text) + "\">" + content + "</td>";
}

}  // namespace mcci::report
