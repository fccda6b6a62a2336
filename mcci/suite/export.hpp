#pragma once

#include <filesystem>

#include "mcci/suite/run.hpp"

namespace mcci {

// Writes the folded plain backbone as safetensors with torchvision's names, and beside it `<stem>.json` with
// what a user of the weights must know: architecture, classes, mean and std, input size, provenance
// (docs/formats/weights.md). With `reference` also `<stem>-reference.safetensors`: `input`, a few training
// images, and the `logits` they get. Errors: usage if a file is there already; io.
void export_run(const TrainedRun& run, const std::filesystem::path& weights, bool reference);

}  // namespace mcci
