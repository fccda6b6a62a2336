#include <iomanip>
#include <iostream>

#include "mcci/attacks/poisoned_dataset.hpp"
#include "mcci/cli/arguments.hpp"

namespace mcci {
namespace {

struct Poison {
  std::string data;
  std::string out;
  std::string config_file;
  std::string preset = "backdoorbench";
  std::string rate_of = "whole_set";
  double rate = 0.1;
  std::int64_t seed = 0;
  bool list = false;
  std::string attack;
  std::unique_ptr<Attack> instance;
  std::size_t first_attack_option = 0;  // the attack's own options are [first, end) of `options`
  std::size_t end_attack_options = 0;
  DatasetOptions dataset;
  OptionSet options;
};

// The words after a heading, in lines of at most 100 columns.
void list_words(const std::string& heading, const std::vector<std::string>& words) {
  constexpr std::size_t columns = 100;
  std::string line = "  " + heading;
  for (const std::string& word : words) {
    if (line.size() + 1 + word.size() > columns) {
      std::cout << line << "\n";
      line = std::string(heading.size() + 2, ' ');
    }
    line += " " + word;
  }
  std::cout << line << "\n";
}

void list_attacks() {
  for (const auto& entry : attacks().entries()) {
    const auto attack = entry.value();
    std::cout << entry.name << ": " << entry.description << "\n";
    list_words("presets", attack->presets().names());
    OptionSet set;
    attack->declare(set);
    std::vector<std::string> options;
    for (const auto& option : set.entries()) options.push_back("--" + option.name);
    list_words("options", options);
  }
  std::cout
      << "\nmcci poison --attack NAME --help explains an attack's options; mcci gallery shows its trigger.\n";
}

void run(Poison& options) {
  if (!options.config_file.empty()) options.options.load_toml(options.config_file);
  if (options.data.empty() || options.out.empty()) {
    throw Error(ErrorKind::usage, "both the data set and --out must be given", "mcci poison",
                "mcci poison --data fashion-mnist --attack badnets --out poisoned");
  }
  AttackSpec spec;
  spec.name = options.attack;
  spec.preset = options.preset;
  for (std::size_t i = options.first_attack_option; i < options.end_attack_options; ++i) {
    const OptionSet::Entry& entry = options.options.entries()[i];
    // What was given by hand; the rest comes from the preset.
    if (entry.origin >= Origin::config_file) spec.options[entry.name] = entry.value();
  }
  spec.plan.rate = options.rate;
  spec.plan.rate_of = options.rate_of == "target_class" ? RateOf::target_class : RateOf::whole_set;
  spec.plan.seed = static_cast<std::uint64_t>(options.seed);
  const std::filesystem::path out = options.out;
  if (std::filesystem::exists(out)) {
    throw Error(ErrorKind::usage, "the folder is there already", out.string(),
                "remove it or name another --out");
  }
  const DatasetPtr clean = open_dataset(options.data, Split::train, options.dataset);
  const PoisonedDataset poisoned = poison_to(out, clean, options.data, spec);
  const Manifest& manifest = poisoned.manifest;
  const auto count = manifest.poisoned().sum().item<std::int64_t>();
  std::cout << "poisoned " << count << " of " << manifest.size() << " images with " << spec.name << " ("
            << spec.preset << "), " << 100 * manifest.rate_of_whole_set() << " % of the whole set\n"
            << "a pixel of theirs changes by " << std::setprecision(3) << poisoned.change
            << " grey levels of 255 on average\n"
            << "data set:  " << (out / "dataset").string() << "   (what a learner sees)\n"
            << "the truth: " << (out / "truth" / "manifest.json").string()
            << "   (for mcci eval and mcci audit only)\n";
}

}  // namespace

void add_poison(CLI::App& program, const Arguments& arguments) {
  CLI::App* command =
      program.add_subcommand("poison", "write a poisoned copy of a data set, and the truth apart from it");
  command->footer("Example: mcci poison --data fashion-mnist --attack badnets --rate 0.1 --out poisoned");
  if (!arguments.is_command("poison")) return;
  const auto options = std::make_shared<Poison>();
  options->attack = arguments.early("attack", "badnets");
  options->instance = attacks().at(options->attack)();

  OptionSet& set = options->options;
  set.add("data", options->data, "clean data set: a folder, or the name of an installed one");
  set.add("out", options->out, "folder to be made");
  set.add("attack", options->attack, "see --list", attacks().names());
  set.add("attack-preset", options->preset, "parameters as published", options->instance->presets().names());
  set.add("rate", options->rate, "share of images to be poisoned", {0.0, 1.0});
  set.add("rate-of", options->rate_of, "what --rate is a share of", {"whole_set", "target_class"});
  set.add("seed", options->seed, "of everything the attack draws", {0, std::int64_t{1} << 53});
  const auto assign_general = bind_flags(*command, set, "Options");
  options->first_attack_option = set.entries().size();
  options->instance->declare(set);
  options->end_attack_options = set.entries().size();
  const auto assign_attack =
      bind_flags(*command, set, "Options of " + options->attack + " (defaults before its preset)");
  options->dataset.declare(set);
  const auto assign_dataset = bind_flags(*command, set, "Data");
  command->add_option("--config", options->config_file, "TOML file with any of these options")->type_name("");
  command->add_flag("--list", options->list, "list all attacks with their presets and options");
  command->allow_extras();
  command->callback([=] {
    refuse_unknown(*command);
    if (options->list) return list_attacks();
    assign_general();
    assign_attack();
    assign_dataset();
    run(*options);
  });
}

}  // namespace mcci
