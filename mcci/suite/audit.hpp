#pragma once

#include <filesystem>
#include <string>

#include <ATen/core/Tensor.h>

#include "mcci/attacks/manifest.hpp"
#include "mcci/core/json.hpp"
#include "mcci/data/dataset.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/train/defense.hpp"

namespace mcci {

// What a trained model has to say about each sample of its training set.
struct Audit {
  at::Tensor suspicion;  // [N] float32, as the defense defines it
  std::string meaning;   // what the suspicion is
  at::Tensor suggested;  // [N] int64: the class that the model deploys
  at::Tensor order;      // [N] int64: positions, most suspicious first
  double threshold = 0;  // from which a sample is flagged
};

// Whether it has anything to say.
bool can_audit(const Defense& model);

// Errors: usage if it has not.
Audit audit(Defense& model, const DatasetPtr& training_set, const Compute& compute);

// path,label,suspicion,suggested_label with class names; most suspicious first. Written atomically.
void write_audit_csv(const std::filesystem::path& path, const Audit& audit, const Dataset& training_set);

// Adds AUROC and the detection figures to a cell of result.json, from the truth.
// Errors: usage if the manifest belongs to another data set.
void add_to_cell(Json& cell, const Audit& audit, const Manifest& truth);

// A CSV field, quoted where it must be (RFC 4180).
std::string csv_field(const std::string& text);

}  // namespace mcci
