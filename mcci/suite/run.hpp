#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mcci/core/options.hpp"
#include "mcci/data/dataset.hpp"
#include "mcci/nn/layout.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/train/defense.hpp"
#include "mcci/train/trainer.hpp"

namespace mcci {

// Everything that determines a training run, as one set of options.
//
//   RunConfig config("mcci");
//   config.options.assign_text("data", "photos", Origin::command_line, "--data");
//   config.apply_preset();
struct RunConfig {
  // Errors: usage if there is no such defense.
  explicit RunConfig(const std::string& defense_name);
  RunConfig(const RunConfig&) = delete;
  RunConfig& operator=(const RunConfig&) = delete;

  // Gives the preset's values to all options that were not set by config file or command line.
  void apply_preset();

  std::string data;
  std::string defense;
  std::string preset;  // default_preset() of the defense, until another is assigned
  std::string backbone = "resnet18";
  std::int64_t width = 0;
  std::string weights;
  std::int64_t depth = 0;
  bool normalise = false;
  bool recompute = false;
  DatasetOptions dataset;
  TrainOptions train;
  ComputeOptions compute;
  std::unique_ptr<Defense> method;
  OptionSet options;
};

// The files of a run's folder: docs/formats/run.md.
struct RunFiles {
  std::filesystem::path folder;
  std::filesystem::path config() const { return folder / "config.json"; }
  std::filesystem::path environment() const { return folder / "environment.json"; }
  std::filesystem::path log() const { return folder / "train.log"; }
  std::filesystem::path checkpoint() const { return folder / "checkpoint.safetensors"; }
  std::filesystem::path result() const { return folder / "result.json"; }
  std::filesystem::path report() const { return folder / "report.html"; }
};

// Trains config.method on the training split of config.data into `folder` and writes result.json.
// A folder that holds a run is taken only with `resume`, and only under the same configuration and data; a
// finished run is then left as it is. Errors: those of open_dataset, read_weights and train; data if the
// weights do not fit; usage if the folder is taken.
RunState train_run(RunConfig& config, const std::filesystem::path& folder, bool resume,
                   const std::function<void(Defense&, Json&)>& on_epoch = {});

// A finished run, ready for inference.
struct TrainedRun {
  RunFiles files;
  std::unique_ptr<RunConfig> config;
  Compute compute;
  ImageShape shape;
  std::vector<std::string> classes;
  std::optional<FoundLayout> layout;  // of the weights it started from; none: it started from random numbers
  Json result;

  Defense& model() const { return *config->method; }
  // The training set, as it was opened for training.
  DatasetPtr training_set() const;
  // Another data set, with images as the model takes them. Errors: usage if its class names differ.
  DatasetPtr matching_set(const std::string& source, Split split) const;
};

// `compute` overrides threads, precision and device of the run where it sets them.
// Errors: io, data if a file of the run is missing or false; usage if training has not finished.
TrainedRun open_run(const std::filesystem::path& folder, const ComputeOptions& compute = {});

}  // namespace mcci
