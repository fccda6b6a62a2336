#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mcci/core/json.hpp"

// From result.json (schema mcci.result/1, docs/formats/result.md) to what people read. All output is
// deterministic: the same result gives the same bytes.
namespace mcci {

// One self-contained HTML page: no network, no other files. Figures are read below `base_folder`, the folder
// of the result `json`. `where` names the result in errors. Errors: data for a result that breaks the schema,
// or a figure that leaves the folder, is no PNG or is too large; io for a figure that cannot be read.
std::string render_html(const Json& json, const std::filesystem::path& base_folder,
                        const std::string& where = "result.json");

// Reads a result of at most 64 MiB and writes its page atomically.
void write_report(const std::filesystem::path& result_path, const std::filesystem::path& html_path);

// Tables over the cells of all results, each cell once, ending with a newline.
// One row for all seeds, for README.md and docs/results.md: GitHub Markdown.
std::string render_markdown_table(const std::vector<Json>& results);
// Attack by defense, CA, ASR and PA with their deviations: LaTeX, which needs the package booktabs.
std::string render_latex_table(const std::vector<Json>& results);
// One line a cell with all its figures, after a line of names: CSV as in RFC 4180; what is undefined is
// empty.
std::string render_csv(const std::vector<Json>& results);

// Attack by defense over all results, where they hold two attacks or more; then a section for each result:
// its table, the command and the environment that made it, and what was counted.
std::string render_markdown_page(const std::vector<Json>& results);

// The result's title and one aligned line per cell, and per mean over seeds, for a terminal (UTF-8).
std::string render_text_table(const Json& json);

}  // namespace mcci
