#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mcci/attacks/attack.hpp"
#include "mcci/attacks/manifest.hpp"
#include "mcci/core/json.hpp"
#include "mcci/data/dataset.hpp"
#include "mcci/metrics/metrics.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/train/defense.hpp"

namespace mcci {

// Of its name: clean, own or attacked. Errors: usage for another.
Perception perception_of(const std::string& name);

struct EvaluationOptions {
  Perception perception = Perception::clean;
  TriggeredCount count = TriggeredCount::non_target;
  std::int64_t limit = 0;  // evaluates so many images, evenly spaced; 0: all
};

struct Evaluation {
  Rate ca;
  std::vector<Rate> per_class;
  Rate asr;  // total 0 without an attack
  Rate pa;
};

// Clean and triggered test images through the model. `attack` (prepared) may be null: then CA only.
Evaluation evaluate(Defense& model, const DatasetPtr& test, const Attack* attack, const Compute& compute,
                    const EvaluationOptions& options = {});

// Writes what was done to the training set into a cell of result.json (attack, attack_preset, both rates).
void add_to_cell(Json& cell, const Manifest& truth);

// Writes the figures into a cell of result.json (ca, asr, pa, counts, per_class_ca).
void add_to_cell(Json& cell, const Evaluation& evaluation);

}  // namespace mcci
