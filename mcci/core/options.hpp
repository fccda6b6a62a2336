#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "mcci/core/json.hpp"

namespace mcci {

// Where an option's value came from; a later one overrides an earlier one.
enum class Origin { default_value, preset, config_file, command_line };

template <class T>
struct Range {
  T low = std::numeric_limits<T>::lowest();
  T high = std::numeric_limits<T>::max();
};

// The options of one command, bound to fields of plain structs. A field's initialiser is the default's only
// home; flags, config files, --help, validation, a run's resolved config and the docs derive from the set.
//
//   struct LoaderOptions {
//     std::int64_t batch_size = 128;
//     void declare(OptionSet& set) { set.add("batch-size", batch_size, "images per step", {1, 65536}); }
//   };
class OptionSet {
 public:
  struct Entry {
    std::string name;        // kebab-case; the flag without dashes and the key of the config file
    std::string help;        // one line: unit, meaning, section of the paper
    std::string constraint;  // "1 .. 65536" or "paper | fast"; empty when anything goes
    std::string default_text;
    bool is_flag = false;  // a bool: --name and --no-name
    Origin origin = Origin::default_value;
    std::function<void(const Json&)> assign;  // throws Error(usage) naming the option
    std::function<Json()> value;
  };

  // Each field must outlive the set.
  // Errors: internal if a name is declared twice or a default is out of range.
  OptionSet& add(const std::string& name, bool& field, const std::string& help);
  OptionSet& add(const std::string& name, std::int64_t& field, const std::string& help,
                 Range<std::int64_t> range = {});
  OptionSet& add(const std::string& name, double& field, const std::string& help, Range<double> range = {});
  OptionSet& add(const std::string& name, std::string& field, const std::string& help,
                 std::vector<std::string> choices = {});
  // Given as a,b,c on the command line and as an array in a config file.
  OptionSet& add(const std::string& name, std::vector<std::string>& field, const std::string& help,
                 std::vector<std::string> choices = {});

  // Assigns from the text of a flag, converting to the option's type. `where` says where it was written.
  // A value of lower origin than the present one is checked, then ignored: a flag beats the config file,
  // whatever the order.
  // Errors: usage for an unknown name (lists candidates), a wrong type or a value outside its range or
  // choices.
  void assign_text(const std::string& name, const std::string& text, Origin origin, const std::string& where);
  void assign_json(const Json& object, Origin origin, const std::string& where);

  // Reads a TOML file whose top-level keys are option names. Unknown keys, tables and wrong types are errors
  // that name file and line.
  void load_toml(const std::filesystem::path& path);

  // Every option's resolved value, in order of declaration; assign_json reads it back.
  Json to_json() const;

  const std::vector<Entry>& entries() const noexcept { return entries_; }
  bool contains(const std::string& name) const;

 private:
  void assign(const std::string& name, const Json& value, Origin origin, const std::string& where);
  void append(Entry entry);

  std::vector<Entry> entries_;
};

}  // namespace mcci
