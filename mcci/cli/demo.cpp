#include <charconv>
#include <iostream>

#include "mcci/attacks/attack.hpp"
#include "mcci/cli/arguments.hpp"
#include "mcci/core/error.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/report/report.hpp"
#include "mcci/suite/bench.hpp"
#include "mcci/suite/defenses.hpp"

namespace mcci {
namespace {

// A small grid: one data set, one attack, one rate.
struct Demo {
  std::string data = "fashion-mnist";
  std::string attack = "badnets";
  std::string attack_preset = "backdoorbench";
  double rate = 0.1;
  std::vector<std::string> defenses = {"none", "mcci"};
  std::string preset;
  std::string backbone = "resnet8";
  std::int64_t width = 16;
  std::int64_t epochs = 0;
  std::vector<std::string> seeds = {"0"};
  std::int64_t curve_images = 2000;
  OptionSet options;
  std::string out = "runs/demo";

  Demo() {
    options.add("data", data, "the clean data set: training split to poison, test split to measure on");
    options.add("attack", attack, "see mcci poison --list", attacks().names());
    options.add("attack-preset", attack_preset, "parameters of the attack");
    options.add("rate", rate, "share of the training set that is poisoned", {0.0, 1.0});
    options.add("defenses", defenses, "ways to train that are compared", mcci::defenses().names());
    options.add("preset", preset, "of every defense; empty: each one's own default");
    options.add("backbone", backbone, "the network to be trained", backbones().names());
    options.add("width", width, "channels of its first stage; 0: the architecture's own", {0, 2048});
    options.add("epochs", epochs, "0: as the preset says", {0, 100000});
    options.add("seeds", seeds, "one experiment each");
    options.add("curve-images", curve_images, "test images behind the curves per epoch (figures use all)",
                {1, 1000000});
  }

  Grid grid() const;
};

std::int64_t seed_of(const std::string& text) {
  std::int64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error != std::errc() || end != text.data() + text.size() || seed < 0) {
    throw Error(ErrorKind::usage, "'" + text + "' is not a seed", "--seeds",
                "give non-negative integers: 0,1,2");
  }
  return seed;
}

Grid Demo::grid() const {
  Grid grid;
  grid.title = attack + " on " + data;
  GridData set;
  set.name = data;
  set.where = "--data";
  grid.data = {set};
  GridModel model;
  model.backbone = backbone;
  model.width = width;
  grid.models = {model};
  GridAttack how;
  how.name = attack;
  how.preset = attack_preset;
  how.where = "--attack";
  grid.attacks = {how};
  grid.rates = {rate};
  grid.seeds.clear();
  for (const std::string& seed : seeds) grid.seeds.push_back(seed_of(seed));
  for (const std::string& name : defenses) {
    GridDefense defense;
    defense.name = name;
    defense.preset = preset;
    defense.where = "--defenses";
    grid.defenses.push_back(defense);
  }
  if (epochs > 0) grid.train["epochs"] = epochs;
  grid.train_where = "--epochs";
  grid.oracle = false;  // a third training to wait for
  grid.curve_images = curve_images;
  return grid;
}

}  // namespace

void add_demo(CLI::App& program, const Arguments& arguments) {
  CLI::App* command =
      program.add_subcommand("demo", "poison a real data set, train a plain and a clean model, compare them");
  command->footer(
      "Example: mcci demo --out runs/demo --seeds 1,2,3\n"
      "Stopped at any point, the same command goes on where it was. Larger comparisons: mcci bench.");
  const auto demo = std::make_shared<Demo>();
  command->add_option("--out", demo->out, "folder for everything it makes")
      ->type_name("")
      ->capture_default_str();
  const auto assign = bind_flags(*command, demo->options, "Options");
  command->allow_extras();
  command->callback([command, demo, assign, text = arguments.text()] {
    refuse_unknown(*command);
    assign();
    BenchOptions options;
    options.out = demo->out;
    options.keep_models = true;
    options.show_training = true;
    options.worker = unit_process();
    const Json result = run_bench(demo->grid(), options, text);
    std::cout << render_text_table(result)
              << "\nreport: " << (std::filesystem::path(demo->out) / "report.html").string() << "\n";
  });
}

}  // namespace mcci
