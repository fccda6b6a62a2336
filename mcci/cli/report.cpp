#include "mcci/report/report.hpp"

#include <iostream>

#include "mcci/cli/arguments.hpp"
#include "mcci/core/files.hpp"

namespace mcci {
namespace {

struct Report {
  std::vector<std::string> sources;
  std::string format = "html";
  std::string out;
};

std::filesystem::path result_of(const std::filesystem::path& source) {
  return std::filesystem::is_directory(source) ? source / "result.json" : source;
}

void run(const Report& options) {
  const std::filesystem::path first = result_of(options.sources.front());
  if (options.format == "html") {
    if (options.sources.size() > 1) {
      throw Error(ErrorKind::usage, "an HTML report shows one result", "mcci report",
                  "name one, or use --format markdown");
    }
    if (options.out == "-") {
      throw Error(ErrorKind::usage, "an HTML report is written to a file", "--out",
                  "name one, or leave it out");
    }
    const std::filesystem::path out = options.out.empty()
                                          ? std::filesystem::path(first).replace_filename("report.html")
                                          : std::filesystem::path(options.out);
    write_report(first, out);
    std::cout << out.string() << "\n";
    return;
  }
  std::vector<Json> results;
  for (const std::string& source : options.sources) results.push_back(read_json(result_of(source)));
  std::string text;
  if (options.format == "markdown") {
    text = render_markdown_page(results);
  } else if (options.format == "table") {
    text = render_markdown_table(results);
  } else if (options.format == "csv") {
    text = render_csv(results);
  } else if (options.format == "latex") {
    text = render_latex_table(results);
  } else {
    for (const Json& result : results) text += render_text_table(result);
  }
  if (options.out.empty() || options.out == "-") {
    std::cout << text;
  } else {
    write_file_atomically(options.out, text);
  }
}

}  // namespace

void add_report(CLI::App& program, const Arguments& /*arguments*/) {
  CLI::App* command = program.add_subcommand("report", "turn result.json into a page or a table");
  command->footer("Example: mcci report runs/demo");
  const auto options = std::make_shared<Report>();
  command->add_option("results", options->sources, "folders of runs, or result.json files")
      ->required()
      ->type_name("");
  command
      ->add_option("--format", options->format,
                   "html, markdown (a section for each result), table (one Markdown table), csv (a line for "
                   "each cell), latex (attack by defense) or text")
      ->check(CLI::IsMember({"html", "markdown", "table", "csv", "latex", "text"}))
      ->type_name("")
      ->capture_default_str();
  command
      ->add_option(
          "--out", options->out,
          "file to write (default: report.html beside the result; for other formats standard output, as "
          "with -)")
      ->type_name("");
  command->callback([options] { run(*options); });
}

}  // namespace mcci
