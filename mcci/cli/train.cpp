#include <algorithm>
#include <iostream>

#include "mcci/cli/arguments.hpp"
#include "mcci/core/json.hpp"
#include "mcci/core/progress.hpp"

namespace mcci {
namespace {

struct Train {
  std::unique_ptr<RunConfig> config;
  std::string out;
  std::string config_file;
  bool resume = false;
};

void run(const Train& options, const std::function<void()>& assign) {
  RunConfig& config = *options.config;
  assign();
  if (!options.config_file.empty()) config.options.load_toml(options.config_file);
  const RunFiles files{options.out};
  if (options.resume && std::filesystem::exists(files.config())) {
    const std::string where = files.config().string();
    config.options.assign_json(json_at<Json>(read_json(files.config()), "options", where),
                               Origin::config_file, where);
  }
  if (config.data.empty()) {
    throw Error(ErrorKind::usage, "no training set is named", "--data",
                "name a folder, or an installed set such as fashion-mnist");
  }
  config.apply_preset();
  const RunState state = train_run(config, options.out, options.resume);
  std::cout << "trained " << config.backbone << " with " << config.defense << " (" << config.preset << ") in "
            << format_duration(state.seconds) << "\nrun: " << options.out << "\nnext: mcci eval "
            << options.out << " --test SET, mcci audit " << options.out << ", mcci export " << options.out
            << " --out model.safetensors\n";
}

// The defense of the run to be continued, if there is one: its options must be known before the words are
// read.
std::string defense_of(const Arguments& arguments) {
  const RunFiles files{arguments.early("out", "")};
  const bool resume =
      std::find(arguments.words.begin(), arguments.words.end(), "--resume") != arguments.words.end();
  if (resume && std::filesystem::exists(files.config())) {
    const std::string where = files.config().string();
    return json_at<std::string>(json_at<Json>(read_json(files.config()), "options", where), "defense", where);
  }
  return arguments.early("defense", "mcci");
}

}  // namespace

void add_train(CLI::App& program, const Arguments& arguments) {
  CLI::App* command =
      program.add_subcommand("train", "train a clean model from a data set that may be poisoned");
  command->footer(
      "Example: mcci train --data photos --out runs/photos --backbone resnet18 --image-size 64\n"
      "The folder of --out gets config.json, environment.json, train.log, checkpoint.safetensors and "
      "result.json.");
  if (!arguments.is_command("train")) return;
  const auto options = std::make_shared<Train>();
  options->config = std::make_unique<RunConfig>(defense_of(arguments));
  command->add_option("--out", options->out, "folder of the run; must be new or empty")
      ->required()
      ->type_name("");
  command->add_flag("--resume", options->resume,
                    "continue the run in --out, with the options it was started with");
  command
      ->add_option("--config", options->config_file,
                   "TOML file with any of the options below, by the same names")
      ->type_name("");
  const auto assign =
      bind_flags(*command, options->config->options, "Options", &options->config->method->presets());
  command->allow_extras();
  command->callback([command, options, assign] {
    refuse_unknown(*command);
    run(*options, assign);
  });
}

}  // namespace mcci
