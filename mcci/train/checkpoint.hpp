#pragma once

#include <filesystem>
#include <string>

#include "mcci/core/json.hpp"
#include "mcci/train/learner.hpp"
#include "mcci/train/low_rank.hpp"
#include "mcci/train/optimizer.hpp"
#include "mcci/train/weight_average.hpp"

namespace mcci {

// Where a run stands and what it has recorded so far: docs/formats/checkpoint.md.
struct RunState {
  std::int64_t phase = 0;
  std::int64_t epoch = 0;  // within the phase
  std::int64_t batch = 0;  // done in this epoch
  bool finished = false;
  double epoch_loss = 0;  // sums over the samples of this epoch
  std::int64_t epoch_correct = 0;
  std::int64_t epoch_samples = 0;
  double epoch_seconds = 0;
  double seconds = 0;            // of training, over all resumes
  Json history = Json::array();  // docs/formats/result.md
};

// What changes a phase's parameters; what it does not have is null.
struct Updates {
  const Optimizer* optimizer = nullptr;
  const WeightAverage* average = nullptr;
  const LowRank* pairs = nullptr;
};

// One safetensors file, replaced atomically: tensors of model, defense and `updates`, RunState in the
// metadata. `config_hash` ties it to the resolved config: a checkpoint is never continued under another one.
void save_checkpoint(const std::filesystem::path& path, Learner& learner, const Updates& updates,
                     const RunState& state, const std::string& config_hash);

// Reads the state; the tensors are copied by restore_*. Errors: io, data; usage if config_hash differs.
struct Checkpoint {
  RunState state;
  TensorList tensors;
};
Checkpoint load_checkpoint(const std::filesystem::path& path, const std::string& config_hash);
void restore(Learner& learner, const Checkpoint& checkpoint, const std::string& where);
void restore(const Updates& updates, const Checkpoint& checkpoint, const std::string& where);

}  // namespace mcci
