#include <set>
#include <string>
#include <vector>

#include "mcci/core/version.hpp"
#include "mcci/report/comparison.hpp"
#include "mcci/report/format.hpp"
#include "mcci/report/image.hpp"
#include "mcci/report/markup.hpp"
#include "mcci/report/page_assets.hpp"
#include "mcci/report/page_comparison.hpp"
#include "mcci/report/page_figures.hpp"
#include "mcci/report/page_tables.hpp"
#include "mcci/report/report.hpp"
#include "mcci/report/result.hpp"
#include "mcci/report/summary.hpp"

namespace mcci {
namespace {

using report::Cell;
using report::html;

std::string facts(const std::vector<report::Row>& rows) {
  std::size_t models = 0, errors = 0;
  for (const report::Row& row : rows) {
    models += row.cells.size() - row.errors();
    errors += row.errors();
  }
  std::string text = report::plural(models, "trained model");
  if (errors > 0) text += " · " + std::to_string(errors) + " failed";
  const auto add = [&](const std::string& noun, std::string Cell::*name) {
    std::set<std::string> distinct;
    for (const report::Row& row : rows) distinct.insert(row.first().*name);
    // The clean set is no attack.
    if (name == &Cell::attack && distinct.size() > 1) distinct.erase("none");
    distinct.erase("");
    if (distinct.empty()) return;
    text += " · " + (distinct.size() == 1 ? html(*distinct.begin()) : report::plural(distinct.size(), noun));
  };
  add("data set", &Cell::dataset);
  add("network", &Cell::model);
  add("attack", &Cell::attack);
  add("defense", &Cell::defense);
  return text;
}

std::string header(const report::Result& result, const std::vector<report::Row>& rows) {
  std::string content = "<header>\n<h1>" + html(result.title) + "</h1>\n";
  if (!rows.empty()) content += "<p class=\"facts\">" + facts(rows) + "</p>\n";
  if (!result.created.empty()) content += "<p class=\"created\">Created " + html(result.created) + "</p>\n";
  return content + "</header>\n";
}

// A second lock: even a mistake in escaping could not reach the network.
constexpr const char* content_policy =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

}  // namespace

std::string render_html(const Json& json, const std::filesystem::path& base_folder,
                        const std::string& where) {
  const report::Result result = report::parse_result(json, where);
  const std::vector<report::Row> rows = report::summarise(result.cells);
  const std::vector<report::Comparison> comparisons = report::compare(rows);
  const std::string single = results_section(result, rows), compared = comparison_section(comparisons);
  report::ImageFolder folder(base_folder);
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"" +
         std::string(content_policy) +
         "\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         html(result.title) + "</title>\n<style>\n" + report::page_style +
         "</style>\n</head>\n<body>\n<main>\n" + header(result, rows) +
         (report::is_large(rows) ? compared + single : single + compared) + error_section(rows) +
         rate_section(comparisons) + cost_section(comparisons) + detection_section(rows) +
         trigger_section(result, folder) + example_section(result, folder) + embedding_section(result) +
         histogram_section(result) + suspect_section(result, folder) + training_section(rows) +
         details(result, rows) + "<footer>Made from a result.json by mcci " + html(version()) +
         ".</footer>\n</main>\n<script>\n" + report::page_script + "</script>\n</body>\n</html>\n";
}

}  // namespace mcci
