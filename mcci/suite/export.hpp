#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mcci/core/registry.hpp"
#include "mcci/nn/backbone.hpp"
#include "mcci/nn/layout.hpp"
#include "mcci/suite/run.hpp"

namespace mcci {

// A clean model as it is to be written.
struct PlainModel {
  Backbone& backbone;                        // in evaluation mode
  std::vector<std::int64_t> image;           // [C,H,W]
  std::map<std::string, std::string> notes;  // that go along where the format has a place for them
  std::optional<FoundLayout> layout;         // of files that hold weights alone; none: our own names
};

// What a clean model can be written as.
struct ExportFormat {
  std::function<void(const std::filesystem::path& path, const PlainModel& model)> write;
  bool is_program = false;  // holds the network too, not only its weights: there is no layout to choose
};
const Registry<ExportFormat>& export_formats();

// What --layout can be besides the layouts of the backbone's family.
constexpr const char* original_layout = "original";
constexpr const char* own_layout = "mcci";

// Writes the folded plain backbone in one of the export_formats(), and beside it `<stem>.json` with what a
// user of the file must know: architecture, classes, mean and std, input size, provenance
// (docs/formats/weights.md). The same text is the note `mcci.json` in the file. With `reference` also
// `<stem>-reference.safetensors`: `input`, a few training images, and the `logits` they get.
//
// `layout` is how the weights are named: "original" as in the file that the run started from, under the same
// prefix (our own names if it started from none); "mcci" our own; or any layout of the backbone's family.
// Errors: usage if a file is there already, if the layout is unknown or has no place for a part of the
// network, or if a layout is asked of a program; io.
void export_run(const TrainedRun& run, const std::filesystem::path& path, const std::string& format,
                bool reference, const std::string& layout = original_layout);

}  // namespace mcci
