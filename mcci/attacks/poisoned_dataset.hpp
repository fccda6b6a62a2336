#pragma once

#include <filesystem>
#include <string>

#include "mcci/attacks/manifest.hpp"
#include "mcci/data/dataset.hpp"

namespace mcci {

struct PoisonedDataset {
  DatasetPtr data;  // names, order and classes of the clean set
  Manifest manifest;
  // By how much the poisoned images differ from the clean ones: the mean over them of |pixel - pixel|, in
  // grey levels; 0 if none is poisoned. 1 is hidden from the eye, 30 is not.
  double change = 0;
};

// Poisons in memory, where only the triggered images are held: the others are read from `clean` when asked
// for. `source` names the clean set in the manifest; a learned attack keeps what it learns in the folder
// `artifacts`, which is made if need be. Shows progress.
// Errors: usage (see make_attack, Attack::plan); interrupted.
PoisonedDataset poison(const DatasetPtr& clean, const std::string& source, const AttackSpec& spec,
                       const std::filesystem::path& artifacts = {});
// The same with an attack of one's own, already prepared, which the manifest describes as `spec`.
PoisonedDataset poison(const DatasetPtr& clean, const std::string& source, const AttackSpec& spec,
                       const Attack& attack);

// Writes the folder of docs/formats/poisoned-dataset.md under `out`, which must not exist:
//   out/dataset/{dataset.json, labels.csv, images/...png}   what a learner is given
//   out/truth/{manifest.json, artifacts/}                   what it must not see
// The images are lossless. Complete or absent (StagedFolder). Shows progress.
// Errors: usage if `out` exists; io; interrupted.
void write_poisoned_dataset(const std::filesystem::path& out, const PoisonedDataset& poisoned);

// Both in one, with the artifacts in out/truth from the start: what a learned attack needs.
PoisonedDataset poison_to(const std::filesystem::path& out, const DatasetPtr& clean,
                          const std::string& source, const AttackSpec& spec);

// The folder of what is left of the set written under `set` without its poison, as a data set: beside the
// two others, with the same image files, made if need be. Complete or absent. Errors: io; data if the
// manifest is bad.
std::filesystem::path unpoisoned_part(const std::filesystem::path& set);

}  // namespace mcci
