#include "mcci/suite/work.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <new>

#include <c10/util/Exception.h>

#include "mcci/attacks/poisoned_dataset.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/runtime/environment.hpp"
#include "mcci/suite/audit.hpp"
#include "mcci/suite/evaluation.hpp"
#include "mcci/suite/figures.hpp"
#include "mcci/suite/result.hpp"
#include "mcci/suite/run.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;

constexpr const char* schema = "mcci.outcome/1";
constexpr std::uint64_t max_outcome_bytes = std::uint64_t{64} << 20;
constexpr std::int64_t example_count = 4;
constexpr std::int64_t suspect_count = 48;
constexpr std::int64_t embedded_count = 300;
constexpr std::size_t prefix_digits = 12;

// The attack behind a unit's set, ready for the test images; null on a clean set.
struct Truth {
  Manifest manifest;
  std::unique_ptr<Attack> attack;
};

Truth truth_of(const Unit& unit, const BenchFiles& files) {
  Truth truth;
  if (unit.poisoned.empty()) return truth;
  truth.manifest = read_manifest(files.poisoned(unit.poisoned) / "truth" / "manifest.json");
  truth.attack = attack_of(truth.manifest);
  return truth;
}

EvaluationOptions limited(std::int64_t images) {
  EvaluationOptions options;
  options.limit = images;
  return options;
}

void assign(RunConfig& config, const Unit& unit, const BenchFiles& files) {
  config.options.assign_json(unit.run, Origin::config_file, unit.title);
  Json data = {{"data", unit.source}};
  if (unit.poisoned.empty()) {
    data.update(unit.dataset);
  } else {
    const fs::path set = files.poisoned(unit.poisoned);
    data["data"] = (unit.told ? unpoisoned_part(set) : set / "dataset").string();
    // The poisoned images are fitted already; clean ones that the defense is given are fitted as they were.
    if (unit.run.contains("clean-data")) data["fit"] = unit.dataset.at("fit");
  }
  config.options.assign_json(data, Origin::config_file, unit.title);
}

TrainedRun train_model(const Unit& unit, const BenchFiles& files, const Attack* attack,
                       const DatasetPtr& test) {
  const std::string defense = json_at<std::string>(unit.run, "defense", unit.title);
  RunConfig config(defense);
  assign(config, unit, files);
  std::function<void(Defense&, Json&)> on_epoch;
  if (unit.curve_images > 0) {
    const Compute compute = setup_compute(config.compute);
    on_epoch = [&unit, test, attack, compute](Defense& model, Json& epoch) {
      const Evaluation now = evaluate(model, test, attack, compute, limited(unit.curve_images));
      epoch["ca"] = percent(now.ca);
      epoch["asr"] = percent(now.asr);
      epoch["pa"] = percent(now.pa);
      log_info(unit.defense_label + ", " + epoch["phase"].get<std::string>() + ", epoch " +
               epoch["epoch"].dump() + ": loss " + number(epoch["loss"].get<double>()).dump() + ", on " +
               std::to_string(now.ca.total) + " test images CA " + epoch["ca"].dump() + ", ASR " +
               epoch["asr"].dump() + ", PA " + epoch["pa"].dump());
    };
  }
  const fs::path folder = files.model(unit.model);
  train_run(config, folder, /*resume=*/fs::exists(folder), on_epoch);
  return open_run(folder);
}

Json draw(const Unit& unit, const BenchFiles& files, const TrainedRun& run, const Truth& truth,
          const DatasetPtr& test, const Audit* found) {
  Defense& model = run.model();
  const std::string subject = unit.defense_label + ", " + unit.attack_label;
  // Cells of one set share the pictures of its test images.
  Figures shared(files.folder, unit.poisoned.substr(0, prefix_digits) + "-");
  shared.add_trigger(unit.attack_label, *truth.attack, test);
  std::vector<Figures::Voice> voices;
  if (model.indicator_size() > 0) {
    voices.push_back({unit.defense_label + ", own indicator", &model, Perception::own});
    voices.push_back({unit.defense_label + ", fake indicator", &model, Perception::clean});
  } else {
    voices.push_back({unit.defense_label, &model, Perception::clean});
  }
  shared.add_examples(voices, truth.attack.get(), test, example_count, run.compute);
  Figures own(files.folder, unit.key.substr(0, prefix_digits) + "-");
  if (found != nullptr) own.add_audit(*found, run.training_set(), &truth.manifest, suspect_count, subject);
  own.add_embedding(subject, model, *truth.attack, test, embedded_count, run.compute);
  Json figures = shared.json();
  append_figures(figures, own.json());
  return figures;
}

Outcome measure_cell(const Unit& unit, const BenchFiles& files) {
  Truth truth = truth_of(unit, files);
  const DatasetPtr test = open_clean(unit, Split::test);
  const TrainedRun run = train_model(unit, files, truth.attack.get(), test);
  const auto trained = std::chrono::steady_clock::now();

  Outcome outcome;
  outcome.cell = run.result.at("cells").at(0);
  outcome.environment = environment(run.compute);
  EvaluationOptions how = limited(unit.test_images);
  how.perception = perception_of(unit.perception);
  add_to_cell(outcome.cell, evaluate(run.model(), test, truth.attack.get(), run.compute, how));
  std::unique_ptr<Audit> found;
  if (can_audit(run.model())) {
    const DatasetPtr training_set = run.training_set();
    found = std::make_unique<Audit>(audit(run.model(), training_set, run.compute));
    if (unit.poisoned.empty()) {
      truth.manifest.roles.assign(static_cast<std::size_t>(training_set->size()), Role::clean);
    }
    add_to_cell(outcome.cell, *found, truth.manifest);
  }
  if (!unit.poisoned.empty()) {
    add_to_cell(outcome.cell, truth.manifest);
    if (unit.pictured) outcome.figures = draw(unit, files, run, truth, test, found.get());
  }
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - trained;
  outcome.seconds =
      json_at<double>(outcome.cell, "seconds", files.model(unit.model).string()) + since.count();
  return outcome;
}

Outcome measure_oracle(const Unit& unit, const BenchFiles& files) {
  const auto start = std::chrono::steady_clock::now();
  const Truth truth = truth_of(unit, files);
  const TrainedRun run = open_run(files.model(unit.model));
  const auto rates = evaluate(run.model(), open_clean(unit, Split::test), truth.attack.get(), run.compute,
                              limited(unit.test_images));
  Outcome outcome;
  outcome.cell = {{"oracle_asr", percent(rates.asr)},
                  {"oracle_pa", percent(rates.pa)},
                  {"counts", {{"oracle_asr", counts(rates.asr)}, {"oracle_pa", counts(rates.pa)}}}};
  outcome.environment = environment(run.compute);
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

void work(const Unit& unit, const BenchFiles& files) {
  switch (unit.kind) {
    case Unit::Kind::poison:
      setup_compute({});
      poison_to(files.poisoned(unit.poisoned), open_clean(unit, Split::train), unit.source, unit.attack);
      return;
    case Unit::Kind::cell:
      return write_outcome(files.outcome(unit.key), unit, measure_cell(unit, files));
    case Unit::Kind::oracle:
      return write_outcome(files.outcome(unit.key), unit, measure_oracle(unit, files));
  }
}

void record_failure(const Unit& unit, const BenchFiles& files, const std::string& error) {
  log_warning(error);
  Outcome outcome;
  outcome.error = error;
  write_outcome(files.outcome(unit.key), unit, outcome);
}

}  // namespace

void write_outcome(const fs::path& path, const Unit& unit, const Outcome& outcome) {
  std::error_code failure;
  fs::create_directories(path.parent_path(), failure);
  if (failure) {
    throw Error(ErrorKind::io, "cannot create the folder (" + failure.message() + ")",
                path.parent_path().string());
  }
  write_json(path, {{"schema", schema},
                    {"key", unit.key},
                    {"title", unit.title},
                    {"model", unit.model},
                    {"error", outcome.error},
                    {"seconds", outcome.seconds},
                    {"environment", outcome.environment},
                    {"cell", outcome.cell},
                    {"figures", outcome.figures}});
}

Outcome read_outcome(const fs::path& path, const std::string& key) {
  const std::string where = path.string();
  const Json json = read_json(path, max_outcome_bytes);
  if (json_at<std::string>(json, "schema", where) != schema ||
      json_at<std::string>(json, "key", where) != key) {
    throw Error(ErrorKind::data, "this is not the outcome of the unit that it is named after", where,
                "remove it");
  }
  return {json_at<std::string>(json, "error", where), json_at<Json>(json, "cell", where),
          json_at<Json>(json, "figures", where), json_at<Json>(json, "environment", where),
          json_at<double>(json, "seconds", where)};
}

void run_unit(const Unit& unit, const BenchFiles& files) {
  try {
    work(unit, files);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::interrupted) throw;
    record_failure(unit, files, error.what());
  } catch (const c10::Error& error) {
    record_failure(unit, files, error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    record_failure(unit, files, "out of memory");
  } catch (const std::exception& error) {
    record_failure(unit, files, error.what());
  }
}

}  // namespace mcci
