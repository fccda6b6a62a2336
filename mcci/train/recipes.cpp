#include "mcci/train/recipes.hpp"

namespace mcci {

const Registry<Json>& recipes() {
  static const Registry<Json> table("recipe", {{"paper",
                                                "the paper's schedule",
                                                {{"epochs", 100},
                                                 {"optimizer", "adadelta"},
                                                 {"lr", 0.1},
                                                 {"weight-decay", 1e-4},
                                                 {"schedule", "steps"},
                                                 {"milestones", {"30", "60", "90"}},
                                                 {"decay", 0.1},
                                                 {"batch-size", 128},
                                                 {"flip", true},
                                                 {"crop-pad", 0}}},
                                               {"fast",
                                                "a short one-cycle schedule",
                                                {{"epochs", 4},
                                                 {"optimizer", "sgd"},
                                                 {"lr", 0.1},
                                                 {"momentum", 0.9},
                                                 {"weight-decay", 5e-4},
                                                 {"schedule", "one-cycle"},
                                                 {"warmup", 0.25},
                                                 {"batch-size", 128},
                                                 {"flip", true},
                                                 {"crop-pad", 0}}}});
  return table;
}

}  // namespace mcci
