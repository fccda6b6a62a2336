#include "mcci/cli/arguments.hpp"

#include <algorithm>
#include <map>

#include <toml++/toml.h>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

std::string value_of_word(const std::vector<std::string>& words, const std::string& flag) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == flag && i + 1 < words.size()) return words[i + 1];
    if (words[i].rfind(flag + "=", 0) == 0) return words[i].substr(flag.size() + 1);
  }
  return "";
}

std::string as_given(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& element : value) text += (text.empty() ? "" : ",") + as_given(element);
  return text;
}

std::string describe(const OptionSet::Entry& entry, const Registry<Json>* presets) {
  std::string text = entry.help;
  if (!entry.constraint.empty() && !entry.is_flag) text += " [" + entry.constraint + "]";
  std::string values;
  if (presets != nullptr) {
    for (const auto& preset : presets->entries()) {
      if (preset.value.contains(entry.name))
        values += ", " + preset.name + ": " + as_given(preset.value[entry.name]);
    }
  }
  if (!entry.default_text.empty()) values += ", default: " + entry.default_text;
  return values.empty() ? text : text + " (" + values.substr(2) + ")";
}

}  // namespace

std::string Arguments::text() const {
  std::string text = "mcci";
  for (const std::string& word : words) text += " " + word;
  return text;
}

std::string Arguments::command() const {
  for (const std::string& word : words) {
    if (word.rfind('-', 0) != 0) return word;
  }
  return "";
}

std::string Arguments::early(const std::string& name, const std::string& fallback) const {
  const std::string given = value_of_word(words, "--" + name);
  if (!given.empty()) return given;
  const std::string file = value_of_word(words, "--config");
  if (file.empty()) return fallback;
  try {
    return toml::parse_file(file)[name].value_or(fallback);
  } catch (const toml::parse_error&) {
    return fallback;  // reported with file and line when the file is loaded
  }
}

std::function<void()> bind_flags(CLI::App& command, OptionSet& set, const std::string& group,
                                 const Registry<Json>* presets) {
  const auto given = std::make_shared<std::map<std::string, std::string>>();
  for (const OptionSet::Entry& entry : set.entries()) {
    const std::string flag = "--" + entry.name;
    if (command.get_option_no_throw(flag) != nullptr) continue;
    CLI::Option* option = nullptr;
    if (entry.is_flag) {
      option = command.add_flag_callback(
          flag, [given, name = entry.name] { (*given)[name] = "true"; }, describe(entry, presets));
      command
          .add_flag_callback("--no-" + entry.name, [given, name = entry.name] { (*given)[name] = "false"; })
          ->group("");
    } else {
      option = command.add_option_function<std::string>(
          flag, [given, name = entry.name](const std::string& text) { (*given)[name] = text; },
          describe(entry, presets));
      option->type_name("");
    }
    option->group(group);
  }
  return [given, &set] {
    for (const auto& [name, text] : *given) set.assign_text(name, text, Origin::command_line, "--" + name);
  };
}

void refuse_unknown(const CLI::App& command) {
  std::vector<std::string> extra = command.remaining();
  // The program takes --quiet after the subcommand too, and with it whatever nobody knows.
  const std::vector<std::string> passed_on = command.get_parent()->remaining();
  extra.insert(extra.end(), passed_on.begin(), passed_on.end());
  // A value that follows an unknown flag is not what was mistyped.
  std::stable_partition(extra.begin(), extra.end(),
                        [](const std::string& word) { return word.rfind('-', 0) == 0; });
  if (extra.empty()) return;
  std::vector<std::string> known;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_group().empty()) known.push_back(option->get_name());
  }
  throw Error(ErrorKind::usage, "unknown argument '" + extra.front() + "'", "mcci " + command.get_name(),
              "use " + candidates(extra.front(), known) + "; see mcci " + command.get_name() + " --help");
}

std::shared_ptr<ComputeFlags> add_compute_flags(CLI::App& command) {
  auto flags = std::make_shared<ComputeFlags>();
  flags->compute.declare(flags->options);
  flags->assign = bind_flags(command, flags->options, "Compute");
  return flags;
}

void add_perception(CLI::App& command, std::string& perception) {
  command
      .add_option("--perception", perception,
                  "indicator shown to the model: clean (the fake one), own (the image's), attacked")
      ->check(CLI::IsMember({"clean", "own", "attacked"}))
      ->type_name("")
      ->capture_default_str();
}

}  // namespace mcci
