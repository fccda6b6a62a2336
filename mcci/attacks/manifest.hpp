#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "mcci/attacks/attack_spec.hpp"
#include "mcci/data/dataset.hpp"

namespace mcci {

// The truth about a poisoned set. It lives apart from the images: no learner opens it.
struct Manifest {
  AttackSpec attack;   // resolved: every option with its value
  std::string source;  // the clean data set, as it was named
  ImageShape shape;
  std::vector<std::string> classes;
  std::vector<Role> roles;          // [N]
  at::Tensor true_labels;           // [N] int64
  at::Tensor recorded_labels;       // [N] int64; equal to the true ones unless the role is poison
  std::vector<std::string> paths;   // [N] as in labels.csv: what the set is or would be written as
  std::vector<std::string> sha256;  // [N] of each image file; empty for a set that was never written
  std::filesystem::path artifacts;  // folder of what the attack learned or fixed; empty if there is none

  std::int64_t size() const { return static_cast<std::int64_t>(roles.size()); }
  std::int64_t num_classes() const { return static_cast<std::int64_t>(classes.size()); }

  at::Tensor poisoned() const;  // [N] bool: role is poison
  // Shares in [0,1]; NaN where there is nothing to divide by.
  double rate_of_whole_set() const;
  // Of the samples recorded as the class that all poison is recorded as; NaN if the poison is recorded as
  // several classes (all-to-all) or there is none.
  double rate_of_target_class() const;
};

// docs/formats/manifest.md. The artifacts must lie below the manifest's folder.
// Errors of writing: io. Errors of reading: io, data (naming the key and, in a sample, its position).
void write_manifest(const std::filesystem::path& path, const Manifest& manifest);
Manifest read_manifest(const std::filesystem::path& path);

// The attack that made the set, ready to trigger test images of the manifest's shape.
std::unique_ptr<Attack> attack_of(const Manifest& manifest);

}  // namespace mcci
