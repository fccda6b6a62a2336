#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mcci/core/options.hpp"
#include "mcci/data/loader.hpp"

namespace mcci {

struct OptimizerOptions {
  std::string optimizer = "sgd";
  double lr = 0.1;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  bool decay_vectors = true;
  std::int64_t accumulate = 1;
  double clip_norm = 0;
  double average = 0;
  void declare(OptionSet& set);
};

struct ScheduleOptions {
  std::string schedule = "one-cycle";
  std::vector<std::string> milestones = {"30", "60", "90"};
  double decay = 0.1;
  double warmup = 0.25;
  double lr_floor = 0;
  void declare(OptionSet& set);
  std::vector<std::int64_t> milestone_epochs() const;  // Errors: usage if one is no positive integer
};

// What of a backbone is trained, and how fast: for one that starts from weights trained before.
struct FineTuneOptions {
  std::string fine_tune = "full";
  std::int64_t trained_blocks = 1;
  std::int64_t lora_rank = 8;
  double lora_alpha = 16;
  double layer_decay = 1;
  void declare(OptionSet& set);
};

// Images known to be clean, for defenses that need some.
struct CleanDataOptions {
  std::string clean_data;
  double clean_share = 1;
  std::int64_t clean_per_class = 0;
  void declare(OptionSet& set);
};

// What a run of training is, apart from the defense's own options.
struct TrainOptions {
  std::int64_t epochs = 10;
  std::int64_t seed = 0;
  double checkpoint_minutes = 2;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  FineTuneOptions fine_tune;
  LoaderOptions loader;
  AugmentOptions augment;
  void declare(OptionSet& set);
};

}  // namespace mcci
