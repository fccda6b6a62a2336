#include <algorithm>
#include <iostream>
#include <memory>

#include "mcci/attacks/attack_spec.hpp"
#include "mcci/cli/arguments.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/log.hpp"
#include "mcci/report/report.hpp"
#include "mcci/suite/figures.hpp"
#include "mcci/suite/result.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;

struct Gallery {
  std::string data = "fashion-mnist";
  std::string out = "gallery";
  std::vector<std::string> attacks;
  std::string preset = "backdoorbench";
  std::int64_t images = 3;
  std::int64_t seed = 0;
  DatasetOptions dataset;
  OptionSet options;

  void declare() {
    options.add("data", data, "clean data set: a folder, or the name of an installed one");
    options.add("out", out, "folder to be made");
    options.add("attacks", attacks, "those to show; all of them if none is named", mcci::attacks().names());
    options.add("attack-preset", preset, "parameters of every attack");
    options.add("images", images, "test images of each attack, of different classes", {1, 100});
    options.add("seed", seed, "of everything the attacks draw", {0, std::int64_t{1} << 53});
    dataset.declare(options);
  }
};

// The attack's pictures, or the cell that says why there are none.
void show(const Gallery& gallery, const std::string& name, const std::string& description,
          const DatasetPtr& train, const DatasetPtr& test, const fs::path& folder, Json& result) {
  AttackSpec spec;
  spec.name = name;
  spec.preset = gallery.preset;
  spec.plan.seed = static_cast<std::uint64_t>(gallery.seed);
  log_info("attack " + name);
  try {
    const std::unique_ptr<Attack> attack = make_attack(spec);
    // The default rate of the whole set may be more than the target class has.
    if (attack->clean_label()) {
      spec.plan.rate = 0.25;
      spec.plan.rate_of = RateOf::target_class;
    }
    attack->prepare({train->shape(), train->num_classes(), spec.plan, {}, train});
    Figures figures(folder, name + "-");
    figures.add_trigger(name + ", preset " + spec.preset + ": " + description, *attack, test, gallery.images);
    for (const Json& trigger : figures.json()["triggers"]) result["figures"]["triggers"].push_back(trigger);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::interrupted) throw;
    log_warning(name + " is not shown: " + error.what());
    Json cell = new_cell();
    cell["dataset"] = gallery.data;
    cell["attack"] = name;
    cell["attack_preset"] = spec.preset;
    cell["error"] = error.what();
    result["cells"].push_back(cell);
  }
}

void run(const Gallery& gallery, const Compute& compute, const std::string& command) {
  StagedFolder folder(gallery.out);
  const DatasetPtr train = open_dataset(gallery.data, Split::train, gallery.dataset);
  const DatasetPtr test = open_dataset(gallery.data, Split::test, gallery.dataset);
  if (train->shape() != test->shape() || train->classes() != test->classes()) {
    throw Error(ErrorKind::data, "training and test images differ in shape or classes", gallery.data,
                "give --image-size and --channels");
  }
  Json result = new_result("Triggers on " + gallery.data, command, compute);
  result["figures"] = {{"triggers", Json::array()}};
  for (const auto& entry : attacks().entries()) {
    const bool wanted = gallery.attacks.empty() || std::find(gallery.attacks.begin(), gallery.attacks.end(),
                                                             entry.name) != gallery.attacks.end();
    if (wanted) show(gallery, entry.name, entry.description, train, test, folder.path(), result);
  }
  const fs::path written = folder.path() / "result.json";
  write_json(written, result);
  write_report(written, folder.path() / "report.html");
  folder.commit();
  std::cout << "gallery: " << (fs::path(gallery.out) / "report.html").string() << "\n";
}

}  // namespace

void add_gallery(CLI::App& program, const Arguments& arguments) {
  CLI::App* command = program.add_subcommand("gallery", "show what every attack does to a few test images");
  command->footer(
      "Example: mcci gallery --attacks badnets,blended,wanet --out gallery\n"
      "Attacks that learn are trained on the training split, which takes a while the first time; name the\n"
      "others to leave them out. An attack that fails is listed with its message.");
  if (!arguments.is_command("gallery")) return;
  const auto gallery = std::make_shared<Gallery>();
  gallery->declare();
  const auto assign = bind_flags(*command, gallery->options, "Options");
  const auto flags = add_compute_flags(*command);
  command->allow_extras();
  command->callback([command, gallery, assign, flags, text = arguments.text()] {
    refuse_unknown(*command);
    assign();
    flags->assign();
    run(*gallery, setup_compute(flags->compute), text);
  });
}

}  // namespace mcci
