#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "mcci/runtime/compute.hpp"
#include "mcci/train/checkpoint.hpp"
#include "mcci/train/learner.hpp"

namespace mcci {

struct TrainingRun {
  DatasetPtr data;
  TrainOptions options;
  Compute compute;
  std::filesystem::path checkpoint;  // empty: nothing is saved
  std::string config_hash;
  std::string title = "training";
  bool resume = false;  // continue from `checkpoint` if it is there
  // Adds to the epoch's entry of the history, e.g. accuracy on a test set. May be empty.
  std::function<void(Json& epoch)> on_epoch;
};

// The epoch loop: the only one. Trains `learner` (already built) through its phases and returns the final
// state. On SIGINT it saves a checkpoint and throws Error(interrupted). A run that was interrupted, killed or
// stopped by a full disk and is resumed ends with the same bits as one that was not, on the same machine,
// threads and precision.
RunState train(Learner& learner, const TrainingRun& run);

}  // namespace mcci
