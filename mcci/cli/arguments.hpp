#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "mcci/core/options.hpp"
#include "mcci/runtime/compute.hpp"
#include "mcci/suite/run.hpp"

namespace mcci {

// The command line as it was given: which options exist depends on the defense or attack that is named in it.
struct Arguments {
  std::vector<std::string> words;  // after the program's name
  std::string text() const;        // "mcci train ...", as recorded in results
  std::string command() const;     // the first word that is no flag; empty if there is none
  bool is_command(const std::string& name) const { return command() == name; }

  // The value given for --name, in the words or else in the file given by --config; `fallback` if in neither.
  std::string early(const std::string& name, const std::string& fallback) const;
};

// Makes a flag of every entry of `set` that has none yet, under the heading `group`; its help names the
// default and what each of the presets gives. What is on the command line is assigned once the returned
// function is called (in the command's callback).
std::function<void()> bind_flags(CLI::App& command, OptionSet& set, const std::string& group,
                                 const Registry<Json>* presets = nullptr);

// Errors: usage, listing the candidates, if words were given that the command does not know.
void refuse_unknown(const CLI::App& command);

// Adds --threads, --precision and --device.
struct ComputeFlags {
  ComputeOptions compute;
  OptionSet options;
  std::function<void()> assign;
};
std::shared_ptr<ComputeFlags> add_compute_flags(CLI::App& command);

// Adds --perception clean|own|attacked.
void add_perception(CLI::App& command, std::string& perception);

// One per file of this folder: adds its subcommand to the program.
void add_poison(CLI::App& program, const Arguments& arguments);
void add_train(CLI::App& program, const Arguments& arguments);
void add_eval(CLI::App& program, const Arguments& arguments);
void add_predict(CLI::App& program, const Arguments& arguments);
void add_audit(CLI::App& program, const Arguments& arguments);
void add_export(CLI::App& program, const Arguments& arguments);
void add_inspect(CLI::App& program, const Arguments& arguments);
void add_report(CLI::App& program, const Arguments& arguments);
void add_demo(CLI::App& program, const Arguments& arguments);
void add_bench(CLI::App& program, const Arguments& arguments);
void add_backbones(CLI::App& program, const Arguments& arguments);

// The first words of the processes that bench and demo start.
std::vector<std::string> unit_process();
void add_gallery(CLI::App& program, const Arguments& arguments);

}  // namespace mcci
