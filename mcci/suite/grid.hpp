#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mcci/attacks/attack.hpp"
#include "mcci/core/json.hpp"

namespace mcci {

// The entries of a grid (docs/bench.md). `label` is what tables call them, `options` what differs from the
// preset, by option name; `where` is the place in the file, for errors.
struct GridData {
  std::string name;  // as --data
  std::string label;
  Json options = Json::object();  // DatasetOptions
  std::string where = "data";
};

struct GridModel {
  std::string backbone = "resnet18";
  std::string label;  // empty: backbone, width and depth
  std::int64_t width = 0;
  std::int64_t depth = 0;
  std::string weights;            // as --weights
  Json options = Json::object();  // of training, as in `train`: how this model is fine-tuned
  std::string where = "models";
};

struct GridAttack {
  std::string name;
  std::string label;
  std::string preset = "backdoorbench";
  RateOf rate_of = RateOf::whole_set;
  std::vector<double> rates;  // empty: the grid's
  Json options = Json::object();
  std::string where = "attacks";
};

struct GridDefense {
  std::string name;
  std::string label;
  std::string preset;                // empty: default_preset() of the defense
  std::string perception = "clean";  // what the model is told when it is measured: perception_of()
  bool told = false;                 // trained on the unpoisoned samples alone, as if the truth were known
  Json options = Json::object();
  std::string where = "defenses";
};

// Data sets x attacks x rates x models x defenses x seeds. Rate 0 is one clean set, whatever the attacks.
struct Grid {
  std::string title = "grid";
  std::vector<GridData> data;
  std::vector<GridModel> models = {{}};
  std::vector<GridAttack> attacks;
  std::vector<double> rates = {0, 0.01, 0.05, 0.1};
  std::vector<std::int64_t> seeds = {1, 2, 3};
  std::vector<GridDefense> defenses;  // the plan adds `none` if it is not among them
  std::string preset;                 // of defenses that name none; empty: each one's own default
  Json train = Json::object();        // options of every training run: one set for all attacks
  std::string train_where = "train";
  bool oracle = true;                // also train on the clean set without a defense
  std::int64_t test_images = 0;      // evaluate on so many, evenly spaced; 0: all
  std::int64_t curve_images = 2000;  // behind the curves per epoch; 0: no curves
};

// Reads a TOML file. Names and options are checked by plan_grid().
// Errors: io; usage, naming file and line, for a syntax error, an unknown key (listing the candidates), a
// wrong type or a value outside its range.
Grid read_grid(const std::filesystem::path& path);

}  // namespace mcci
