#include <iomanip>
#include <iostream>
#include <sstream>

#include "mcci/attacks/manifest.hpp"
#include "mcci/cli/arguments.hpp"
#include "mcci/suite/evaluation.hpp"

namespace mcci {
namespace {

struct Eval {
  std::string run;
  std::string test;
  std::string manifest;
  std::string attack;
  std::string attack_preset = "backdoorbench";
  std::string perception = "clean";
  bool all_classes = false;
};

std::string line(const std::string& name, const Rate& rate, const std::string& meaning) {
  std::ostringstream text;
  if (rate.total == 0) {
    text << name << "     -";
  } else {
    text << name << " " << std::fixed << std::setprecision(1) << std::setw(5) << rate.percent() << " %";
  }
  text << "  (" << rate.hits << " of " << rate.total << ")  " << meaning << "\n";
  return text.str();
}

// The attack of a manifest, or the one that is named; null if neither is.
std::unique_ptr<Attack> attack_for(const Eval& options, const TrainedRun& run, Json& cell) {
  if (!options.manifest.empty()) {
    const Manifest manifest = read_manifest(options.manifest);
    add_to_cell(cell, manifest);
    return attack_of(manifest);
  }
  if (options.attack.empty()) return nullptr;
  AttackSpec spec;
  spec.name = options.attack;
  spec.preset = options.attack_preset;
  auto attack = make_attack(spec);
  PrepareContext context;
  context.shape = run.shape;
  context.num_classes = static_cast<std::int64_t>(run.classes.size());
  attack->prepare(context);
  cell["attack"] = spec.name;
  cell["attack_preset"] = spec.preset;
  return attack;
}

void run(const Eval& options, const ComputeOptions& compute) {
  TrainedRun trained = open_run(options.run, compute);
  Json& cell = trained.result["cells"].at(0);
  const std::unique_ptr<Attack> attack = attack_for(options, trained, cell);
  EvaluationOptions how;
  how.perception = perception_of(options.perception);
  how.count = options.all_classes ? TriggeredCount::all_classes : TriggeredCount::non_target;
  const Evaluation found = evaluate(trained.model(), trained.matching_set(options.test, Split::test),
                                    attack.get(), trained.compute, how);
  const std::string counted = options.all_classes
                                  ? "all triggered test images"
                                  : "triggered test images whose true class is not the attack's";
  std::cout << line("CA ", found.ca, "clean test images that get their label");
  if (attack != nullptr) {
    std::cout << line("ASR", found.asr, counted + " that get the attacker's label")
              << line("PA ", found.pa, counted + " that get their true label");
  }
  if (how.perception == Perception::clean && how.count == TriggeredCount::non_target) {
    add_to_cell(cell, found);
    write_json(trained.files.result(), trained.result);
  } else {
    std::cout << "not recorded: result.json holds the figures of --perception clean without --all-classes\n";
  }
}

}  // namespace

void add_eval(CLI::App& program, const Arguments& /*arguments*/) {
  CLI::App* command =
      program.add_subcommand("eval", "clean accuracy, attack success rate and poisoned accuracy of a run");
  command->footer(
      "Example: mcci eval runs/demo --test fashion-mnist --manifest poisoned/truth/manifest.json\n"
      "The attack is made again from its manifest and put on the clean test set. The figures enter the run's "
      "result.json.");
  const auto options = std::make_shared<Eval>();
  command->add_option("run", options->run, "folder of a finished run")->required()->type_name("");
  command->add_option("--test", options->test, "clean test set: a folder, or the name of an installed set")
      ->required()
      ->type_name("");
  CLI::Option* manifest =
      command->add_option("--manifest", options->manifest, "truth/manifest.json of the poisoned set")
          ->type_name("");
  command
      ->add_option("--attack", options->attack,
                   "an attack by name, with its default seed, instead of a manifest")
      ->excludes(manifest)
      ->type_name("");
  command->add_option("--attack-preset", options->attack_preset, "its parameters")
      ->type_name("")
      ->capture_default_str();
  command->add_flag("--all-classes", options->all_classes,
                    "count triggered images of the attack's own class too");
  add_perception(*command, options->perception);
  const auto compute = add_compute_flags(*command);
  command->allow_extras();
  command->callback([command, options, compute] {
    refuse_unknown(*command);
    compute->assign();
    run(*options, compute->compute);
  });
}

}  // namespace mcci
