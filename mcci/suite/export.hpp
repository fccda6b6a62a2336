#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "mcci/core/registry.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/suite/run.hpp"

namespace mcci {

// What a clean model can be written as. Each writes a file from a plain backbone in evaluation mode, the
// shape [C,H,W] of its images, and notes that go along where the format has a place for them.
using Exporter = std::function<void(const std::filesystem::path& path, Backbone& backbone,
                                    const std::vector<std::int64_t>& image,
                                    const std::map<std::string, std::string>& notes)>;
const Registry<Exporter>& export_formats();

// Writes the folded plain backbone in one of the export_formats(), and beside it `<stem>.json` with what a
// user of the file must know: architecture, classes, mean and std, input size, provenance
// (docs/formats/weights.md). The same text is the note `mcci.json` in the file. With `reference` also
// `<stem>-reference.safetensors`: `input`, a few training images, and the `logits` they get. Errors: usage if
// a file is there already, or the network cannot be written so; io.
void export_run(const TrainedRun& run, const std::filesystem::path& path, const std::string& format,
                bool reference);

}  // namespace mcci
