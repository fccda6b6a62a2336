#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mcci/attacks/attack_spec.hpp"
#include "mcci/core/json.hpp"
#include "mcci/data/dataset.hpp"
#include "mcci/suite/grid.hpp"

namespace mcci {

// A piece of work that runs in a process of its own, and its key: 32 hexadecimal digits of the SHA-256 of all
// that determines its outcome - contents of the data set and of files that options name, every resolved
// option that is not its default, the seed, the version of mcci. Names, titles and places in the grid are no
// part of it.
struct Unit {
  enum class Kind {
    poison,  // writes a poisoned set
    cell,    // trains a model, evaluates and audits it
    oracle,  // evaluates the undefended clean model on the triggered images of an attack: PA's yardstick
  };
  Kind kind = Kind::cell;
  std::string key;
  std::string title;  // for people

  std::string source;                // the clean data set
  Json dataset = Json::object();     // its DatasetOptions, with the shape of its images
  std::string poisoned;              // key of the poisoned set; empty: the clean set itself
  AttackSpec attack;                 // resolved; of the poisoned set
  std::string model;                 // key of the trained model
  Json run = Json::object();         // its resolved RunConfig, `data` and the data set's options left out
  std::int64_t test_images = 0;      // 0: all
  std::int64_t curve_images = 0;     // 0: no curves
  bool pictured = false;             // draws figures
  std::string perception = "clean";  // what the model is told when it is measured
  bool told = false;                 // the unpoisoned samples of the set alone are trained on

  std::string dataset_label, attack_label, model_label, defense_label;  // names in the result

  Json to_json() const;
  static Unit from_json(const Json& json, const std::string& where);
};

// A unit and its place in the grid.
struct Task {
  Unit unit;
  std::vector<std::string> needs;  // keys of units to be done before
  std::string undefended;          // of a cell: the key of its undefended cell (its own, if it is one)
  std::string oracle;              // of a cell: the key of its oracle unit; empty: none
  bool listed = false;             // a cell of the result, not only somebody's need
  std::string group;               // cells of one set and seed stay on one machine
};

struct Plan {
  std::string title;
  std::vector<Task> tasks;         // in order of work: needs come first
  std::vector<std::string> cells;  // keys of all listed cells of the whole grid, whatever the shard
};

// What identifies the content of a data set: content_hash of both splits.
struct DataIdentity {
  std::string train, test;
  ImageShape shape;
};
// Reads the whole data set. Errors: those of open_dataset; usage if the splits have other classes or shapes.
DataIdentity identify(const GridData& data);

// A split of the clean data set that a unit works on.
DatasetPtr open_clean(const Unit& unit, Split split);

// All units of the grid; `identities` in the order of grid.data. Undefended cells and, with grid.oracle,
// undefended cells on the clean set are added where they are absent.
// Errors: usage, naming the place in the grid, for unknown names and options, values out of range, entries
// that are the same, and grids of more than 100,000 cells.
Plan plan_grid(const Grid& grid, const std::vector<DataIdentity>& identities);

// One of `count` parts of the grid, `index` from 1: its cells and all that they need. Every cell is in
// exactly one part; cells of one poisoned set are in the same.
struct Shard {
  std::int64_t index = 1;
  std::int64_t count = 1;
  std::string text() const { return std::to_string(index) + "/" + std::to_string(count); }
  static Shard parse(const std::string& text);  // "2/3". Errors: usage
};
Plan take_shard(const Plan& plan, const Shard& shard);

}  // namespace mcci
