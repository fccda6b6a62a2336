#include <iostream>

#include "mcci/cli/arguments.hpp"
#include "mcci/report/report.hpp"
#include "mcci/suite/experiment.hpp"

namespace mcci {

void add_demo(CLI::App& program, const Arguments& arguments) {
  CLI::App* command =
      program.add_subcommand("demo", "poison a real data set, train a plain and a clean model, compare them");
  command->footer(
      "Example: mcci demo --out runs/demo --seeds 1,2,3\n"
      "Stopped at any point, the same command goes on where it was.");
  struct Demo {
    ExperimentOptions experiment;
    OptionSet options;
    std::string out = "runs/demo";
  };
  const auto demo = std::make_shared<Demo>();
  demo->experiment.declare(demo->options);
  command->add_option("--out", demo->out, "folder for everything it makes")
      ->type_name("")
      ->capture_default_str();
  const auto assign = bind_flags(*command, demo->options, "Options");
  command->allow_extras();
  command->callback([command, demo, assign, text = arguments.text()] {
    refuse_unknown(*command);
    assign();
    const Json result = run_experiment(demo->experiment, demo->out, text);
    std::cout << render_text_table(result)
              << "\nreport: " << (std::filesystem::path(demo->out) / "report.html").string() << "\n";
  });
}

}  // namespace mcci
