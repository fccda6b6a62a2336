#include "mcci/suite/bench.hpp"

#include <iostream>

#include "mcci/cli/arguments.hpp"
#include "mcci/core/error.hpp"
#include "mcci/report/report.hpp"

namespace mcci {
namespace {

constexpr std::int64_t max_jobs = 4096;

struct BenchFlags {
  std::string grid;
  std::string out;
  std::string shard = "1/1";
  BenchOptions options;
  std::string known;
  bool list = false;
};

struct MergeFlags {
  std::vector<std::string> parts;
  std::string out;
};

void show(const Json& result, const std::filesystem::path& out) {
  std::cout << render_text_table(result) << "\nresult: " << (out / "result.json").string()
            << "\nreport: " << (out / "report.html").string() << "\n";
}

void run(BenchFlags& flags, const std::string& command) {
  if (flags.grid.empty()) {
    throw Error(ErrorKind::usage, "no grid is named", "mcci bench", "mcci bench configs/attacks.toml");
  }
  const std::filesystem::path file = flags.grid;
  BenchOptions& options = flags.options;
  options.out = flags.out.empty() ? "runs" / file.stem() : std::filesystem::path(flags.out);
  options.shard = Shard::parse(flags.shard);
  options.known = flags.known;
  options.worker = unit_process();
  const Grid grid = read_grid(file);
  if (flags.list) return list_bench(grid, options, std::cout);
  show(run_bench(grid, options, command), options.out);
}

void add_merge(CLI::App& bench, const std::string& text) {
  CLI::App* command = bench.add_subcommand("merge", "put the parts of a grid together that --shard has made");
  command->footer("Example: mcci bench merge runs/part-1 runs/part-2 --out runs/attacks");
  const auto flags = std::make_shared<MergeFlags>();
  command->add_option("parts", flags->parts, "folders of the parts")->required()->type_name("");
  command->add_option("--out", flags->out, "folder for result.json, report.html and figures")
      ->required()
      ->type_name("");
  command->allow_extras();
  command->callback([command, &bench, flags, text] {
    refuse_unknown(*command);
    refuse_unknown(bench);
    show(merge_benches({flags->parts.begin(), flags->parts.end()}, flags->out, text), flags->out);
  });
}

// Not for people: what run_bench() starts.
void add_unit_process(CLI::App& program) {
  struct UnitFlags {
    std::string file;
    std::int64_t parent = 0;
  };
  CLI::App* command = program.add_subcommand("bench-unit", "");
  command->group("");
  const auto flags = std::make_shared<UnitFlags>();
  command->add_option("unit", flags->file)->required();
  command->add_option("parent", flags->parent)->required();
  command->callback([flags] { run_unit_process(flags->file, flags->parent); });
}

}  // namespace

std::vector<std::string> unit_process() {
  // This very program, even if its file has been replaced since it started.
  return {"/proc/self/exe", "bench-unit"};
}

void add_bench(CLI::App& program, const Arguments& arguments) {
  add_unit_process(program);
  CLI::App* command = program.add_subcommand(
      "bench", "data sets x attacks x rates x models x defenses x seeds, from a grid file");
  command->footer(
      "Example: mcci bench configs/attacks.toml --jobs 2\n"
      "Stopped at any point, the same command goes on where it was. The grid file, the folder and the "
      "conventions: docs/bench.md.");
  const auto flags = std::make_shared<BenchFlags>();
  command->add_option("grid", flags->grid, "TOML file")->type_name("");
  command->add_option("--out", flags->out, "folder for everything it makes (default: runs/NAME of the file)")
      ->type_name("");
  command
      ->add_option(
          "--jobs", flags->options.jobs,
          "models trained at once, each on its share of the cores; as many as cores is fastest, if memory "
          "suffices")
      ->check(CLI::Range(std::int64_t{1}, max_jobs))
      ->type_name("")
      ->capture_default_str();
  command->add_option("--shard", flags->shard, "the part i/n of the grid, for several machines; see merge")
      ->type_name("")
      ->capture_default_str();
  command
      ->add_option("--known", flags->known,
                   "result.json of an earlier run of such a grid, elsewhere or of fewer cells: what it holds "
                   "is taken from it")
      ->type_name("");
  command->add_flag("--dry-run,--list", flags->list, "list the cells and an estimate, and do nothing");
  command->add_flag("--retry-failed", flags->options.retry_failed, "run cells again that failed");
  command->add_flag("--keep-poisoned", flags->options.keep_poisoned,
                    "keep poisoned sets, which are removed once no cell needs them");
  command->add_flag("--keep-models", flags->options.keep_models, "keep defended models too");
  add_merge(*command, arguments.text());
  command->allow_extras();
  command->callback([command, flags, text = arguments.text()] {
    if (command->got_subcommand("merge")) return;
    refuse_unknown(*command);
    run(*flags, text);
  });
}

}  // namespace mcci
