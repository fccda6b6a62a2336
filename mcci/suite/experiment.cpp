#include "mcci/suite/experiment.hpp"

#include <charconv>
#include <map>
#include <memory>

#include "mcci/attacks/poisoned_dataset.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/report/report.hpp"
#include "mcci/suite/audit.hpp"
#include "mcci/suite/defenses.hpp"
#include "mcci/suite/evaluation.hpp"
#include "mcci/suite/figures.hpp"
#include "mcci/suite/result.hpp"
#include "mcci/suite/run.hpp"

namespace mcci {
namespace {

constexpr std::int64_t example_count = 6;
constexpr std::int64_t suspect_count = 48;
// An undefended model below this has not taken up the trigger: a defense can win nothing there.
constexpr double implanted_asr = 50;

std::int64_t seed_of(const std::string& text) {
  std::int64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error != std::errc() || end != text.data() + text.size() || seed < 0) {
    throw Error(ErrorKind::usage, "'" + text + "' is not a seed", "--seeds",
                "give non-negative integers: 0,1,2");
  }
  return seed;
}

class Experiment {
 public:
  Experiment(const ExperimentOptions& options, std::filesystem::path out)
      : options_(options), out_(std::move(out)), test_(open_dataset(options.data, Split::test)) {}

  Json run(const std::string& command);

 private:
  Manifest poison_for(std::int64_t seed);
  TrainedRun train(const std::string& defense, std::int64_t seed, const Attack& attack);
  Json measure(TrainedRun& run, const Manifest& truth, const Attack& attack);
  void draw(std::map<std::string, TrainedRun>& runs, const Manifest& truth, const Attack& attack,
            Json& result);

  std::filesystem::path poisoned_folder(std::int64_t seed) const {
    return out_ / "poisoned" / ("seed-" + std::to_string(seed));
  }

  const ExperimentOptions& options_;
  std::filesystem::path out_;
  DatasetPtr test_;               // clean
  std::unique_ptr<Audit> audit_;  // of the mcci run measured last
};

Manifest Experiment::poison_for(std::int64_t seed) {
  const std::filesystem::path folder = poisoned_folder(seed);
  AttackSpec spec;
  spec.name = options_.attack;
  spec.preset = options_.attack_preset;
  spec.plan.rate = options_.rate;
  spec.plan.seed = static_cast<std::uint64_t>(seed);
  if (!std::filesystem::exists(folder)) {
    poison_to(folder, open_dataset(options_.data, Split::train), options_.data, spec);
  }
  Manifest manifest = read_manifest(folder / "truth" / "manifest.json");
  if (manifest.attack.to_json() != resolve(spec).to_json() || manifest.source != options_.data) {
    throw Error(ErrorKind::usage, "the poisoned set in this folder was made with other options",
                folder.string(), "name another --out");
  }
  return manifest;
}

TrainedRun Experiment::train(const std::string& defense, std::int64_t seed, const Attack& attack) {
  const std::filesystem::path folder = out_ / ("seed-" + std::to_string(seed)) / defense;
  RunConfig config(defense);
  const auto set = [&](const std::string& name, const std::string& value) {
    config.options.assign_text(name, value, Origin::command_line, "--" + name);
  };
  set("data", (poisoned_folder(seed) / "dataset").string());
  set("preset", options_.preset);
  set("backbone", options_.backbone);
  set("width", std::to_string(options_.width));
  set("seed", std::to_string(seed));
  if (options_.epochs > 0) set("epochs", std::to_string(options_.epochs));
  config.apply_preset();

  const Compute compute = setup_compute(config.compute);
  EvaluationOptions curve;
  curve.limit = options_.curve_images;
  train_run(config, folder, /*resume=*/std::filesystem::exists(folder), [&](Defense& model, Json& epoch) {
    const Evaluation now = evaluate(model, test_, &attack, compute, curve);
    epoch["ca"] = percent(now.ca);
    epoch["asr"] = percent(now.asr);
    epoch["pa"] = percent(now.pa);
    log_info(defense + ", " + epoch["phase"].get<std::string>() + ", epoch " + epoch["epoch"].dump() +
             ": loss " + number(epoch["loss"].get<double>()).dump() + ", on " + std::to_string(curve.limit) +
             " test images CA " + epoch["ca"].dump() + ", ASR " + epoch["asr"].dump() + ", PA " +
             epoch["pa"].dump());
  });
  return open_run(folder);
}

Json Experiment::measure(TrainedRun& run, const Manifest& truth, const Attack& attack) {
  Json cell = run.result["cells"][0];
  cell["dataset"] = options_.data;
  add_to_cell(cell, truth);
  add_to_cell(cell, evaluate(run.model(), test_, &attack, run.compute));
  if (run.model().has_suspicion()) {
    audit_ = std::make_unique<Audit>(audit(run.model(), run.training_set(), run.compute));
    add_to_cell(cell, *audit_, truth);
  }
  return cell;
}

void Experiment::draw(std::map<std::string, TrainedRun>& runs, const Manifest& truth, const Attack& attack,
                      Json& result) {
  Figures figures(out_);
  figures.add_trigger(truth.attack.name, attack, test_);
  std::vector<Figures::Voice> voices;
  Compute compute;
  DatasetPtr training_set;
  for (auto& [defense, run] : runs) {
    compute = run.compute;
    if (run.model().has_suspicion()) {
      training_set = run.training_set();
      voices.push_back({defense + ", own indicator", &run.model(), Perception::own});
      voices.push_back({defense + ", fake indicator", &run.model(), Perception::clean});
    } else {
      voices.insert(voices.begin(), {"plain model", &run.model(), Perception::clean});
    }
  }
  figures.add_examples(voices, &attack, test_, example_count, compute);
  if (audit_ != nullptr) figures.add_audit(*audit_, training_set, &truth, suspect_count);
  result["figures"] = figures.json();
}

Json Experiment::run(const std::string& command) {
  const Compute compute = setup_compute({});
  Json result = new_result(options_.attack + " on " + options_.data, command, compute);
  for (const std::string& seed_text : options_.seeds) {
    const std::int64_t seed = seed_of(seed_text);
    const Manifest truth = poison_for(seed);
    const std::unique_ptr<Attack> attack = attack_of(truth);
    std::map<std::string, TrainedRun> runs;
    Json implanted = nullptr;
    for (const std::string& defense : options_.defenses) {
      TrainedRun run = train(defense, seed, *attack);
      Json cell = measure(run, truth, *attack);
      if (defense == "none")
        implanted = cell["asr"].is_number() && cell["asr"].get<double>() >= implanted_asr;
      result["cells"].push_back(std::move(cell));
      runs.emplace(defense, std::move(run));
    }
    for (Json& cell : result["cells"]) {
      if (cell["seed"] == seed) cell["implanted"] = implanted;
    }
    if (!result.contains("figures")) draw(runs, truth, *attack, result);
    write_json(out_ / "result.json", result);
  }
  write_report(out_ / "result.json", out_ / "report.html");
  return result;
}

}  // namespace

void ExperimentOptions::declare(OptionSet& set) {
  set.add("data", data, "the clean data set: training split to poison, test split to measure on");
  set.add("attack", attack, "see mcci poison --list", attacks().names());
  set.add("attack-preset", attack_preset, "parameters of the attack");
  set.add("rate", rate, "share of the training set that is poisoned", {0.0, 1.0});
  set.add("defenses", defenses, "ways to train that are compared", mcci::defenses().names());
  set.add("preset", preset, "of every defense");
  set.add("backbone", backbone, "the network to be trained", backbones().names());
  set.add("width", width, "channels of its first stage; 0: the architecture's own", {0, 4096});
  set.add("epochs", epochs, "0: as the preset says", {0, 100000});
  set.add("seeds", seeds, "one experiment each");
  set.add("curve-images", curve_images, "test images behind the curves per epoch (figures use all)",
          {1, 1000000});
}

Json run_experiment(const ExperimentOptions& options, const std::filesystem::path& out,
                    const std::string& command) {
  return Experiment(options, out).run(command);
}

}  // namespace mcci
