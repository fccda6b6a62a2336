#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "mcci/attacks/attack.hpp"

namespace mcci {

// An attack with its options set: what a manifest records and a grid cell names.
struct AttackSpec {
  std::string name = "badnets";
  std::string preset = "backdoorbench";
  Json options = Json::object();  // overrides of the preset, by option name
  PlanOptions plan;
  Json to_json() const;
  static AttackSpec from_json(const Json& json, const std::string& where);
};

// The attack named in `spec` with preset and overrides applied (not yet prepared).
// Errors: usage for unknown names, presets and options.
std::unique_ptr<Attack> make_attack(const AttackSpec& spec);

// The truth about a poisoned set. It lives apart from the images: no learner opens it.
struct Manifest {
  AttackSpec attack;               // resolved: every option with its value
  std::string source;              // the clean data set, as it was named
  ImageShape shape;
  std::vector<std::string> classes;
  std::vector<Role> roles;         // [N]
  at::Tensor true_labels;          // [N] int64
  at::Tensor recorded_labels;      // [N] int64
  std::vector<std::string> paths;  // [N] as in labels.csv
  std::vector<std::string> sha256; // [N] of each image file; empty for a set that was never written
  std::filesystem::path artifacts; // folder of a learned attack's files; empty if it has none

  at::Tensor poisoned() const;       // [N] bool: role is poison
  double rate_of_whole_set() const;  // poisoned / N
  double rate_of_target_class() const;  // of the samples recorded as the (first) attack label: share that is poisoned
};

// docs/formats/manifest.md. Errors of reading: io, data (naming the key).
void write_manifest(const std::filesystem::path& path, const Manifest& manifest);
Manifest read_manifest(const std::filesystem::path& path);

struct PoisonedDataset {
  DatasetPtr data;
  Manifest manifest;
};

// Poisons in memory. Shows progress.
PoisonedDataset poison(const DatasetPtr& clean, const std::string& source, const AttackSpec& spec,
                       const std::filesystem::path& artifacts = {});

// Writes the folder of docs/formats/poisoned-dataset.md under `out`, which must not exist:
//   out/dataset/{dataset.json, labels.csv, images/...png}   what a learner is given
//   out/truth/manifest.json                                 what it must not see
// The images are lossless. Complete or absent (StagedFolder).
void write_poisoned_dataset(const std::filesystem::path& out, const PoisonedDataset& poisoned);

}  // namespace mcci
