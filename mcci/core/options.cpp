#include "mcci/core/options.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <toml++/toml.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"

namespace mcci {
namespace {

constexpr std::uint64_t max_config_bytes = 1 << 20;

std::string number_text(std::int64_t value) { return std::to_string(value); }

// The shortest decimal that reads back as the same number.
std::string number_text(double value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end.ptr};
}

std::string joined(const std::vector<std::string>& items, const std::string& separator) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : separator) + item;
  return text;
}

// As one would write it on the command line.
std::string value_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) return joined(value.get<std::vector<std::string>>(), ",");
  if (value.is_number_float()) return number_text(value.get<double>());
  return value.dump();
}

template <class T>
std::string range_text(const Range<T>& range) {
  const Range<T> all;
  const bool bounded_below = range.low > all.low;
  const bool bounded_above = range.high < all.high;
  if (bounded_below && bounded_above) return number_text(range.low) + " .. " + number_text(range.high);
  if (bounded_below) return ">= " + number_text(range.low);
  if (bounded_above) return "<= " + number_text(range.high);
  return "";
}

[[noreturn]] void refuse(const std::string& name, const std::string& wanted, const std::string& constraint,
                         const Json& value) {
  throw Error(ErrorKind::usage, "the option '" + name + "' must be " + wanted +
                                    (constraint.empty() ? "" : " (" + constraint + ")") + ", not " +
                                    value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void require_choice(const std::string& name, const std::string& value,
                    const std::vector<std::string>& choices) {
  if (choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  throw Error(ErrorKind::usage, "the option '" + name + "' cannot be '" + value + "'", "",
              "use " + candidates(value, choices));
}

template <class T>
bool reads_as(const std::string& text, T& value) {
  const char* const end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> items;
  for (std::size_t begin = 0; begin < text.size() + 1 && !text.empty();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    items.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return items;
}

// The text of a flag as a value of the type that `present` has. A number that cannot be read stays a text,
// which the option then refuses with its own message.
Json parsed(const std::string& text, const Json& present) {
  if (present.is_boolean() && (text == "true" || text == "false")) return text == "true";
  if (std::int64_t integer = 0; present.is_number() && reads_as(text, integer)) return integer;
  if (double number = 0; present.is_number_float() && reads_as(text, number)) return number;
  if (present.is_array()) return split(text);
  return text;
}

Json to_json_value(const toml::node& node, const std::string& where) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* integer = node.as_integer()) return integer->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* truth = node.as_boolean()) return truth->get();
  if (const auto* array = node.as_array()) {
    Json items = Json::array();
    for (const toml::node& item : *array) items.push_back(to_json_value(item, where));
    return items;
  }
  throw Error(ErrorKind::usage, "a configuration has no tables, dates or times", where,
              "write each option as `name = value` at the top level");
}

template <class Entries>
auto find_entry(Entries& entries, const std::string& name) {
  return std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.name == name; });
}

template <class Entries>
auto& entry_at(Entries& entries, const std::string& name, const std::string& where) {
  const auto found = find_entry(entries, name);
  if (found != entries.end()) return *found;
  std::vector<std::string> names;
  for (const auto& entry : entries) names.push_back(entry.name);
  throw Error(ErrorKind::usage, "there is no option '" + name + "'", where,
              names.empty() ? "" : "use " + candidates(name, names));
}

}  // namespace

OptionSet& OptionSet::add(const std::string& name, bool& field, const std::string& help) {
  Entry entry;
  entry.name = name;
  entry.help = help;
  entry.is_flag = true;
  entry.assign = [name, &field](const Json& value) {
    if (!value.is_boolean()) refuse(name, "true or false", "", value);
    field = value.get<bool>();
  };
  entry.value = [&field] { return Json(field); };
  append(std::move(entry));
  return *this;
}

OptionSet& OptionSet::add(const std::string& name, std::int64_t& field, const std::string& help,
                          Range<std::int64_t> range) {
  Entry entry;
  entry.name = name;
  entry.help = help;
  entry.constraint = range_text(range);
  entry.assign = [name, &field, range](const Json& value) {
    const bool fits = json_fits<std::int64_t>(value) && value.get<std::int64_t>() >= range.low &&
                      value.get<std::int64_t>() <= range.high;
    if (!fits) refuse(name, "an integer", range_text(range), value);
    field = value.get<std::int64_t>();
  };
  entry.value = [&field] { return Json(field); };
  append(std::move(entry));
  return *this;
}

OptionSet& OptionSet::add(const std::string& name, double& field, const std::string& help,
                          Range<double> range) {
  Entry entry;
  entry.name = name;
  entry.help = help;
  entry.constraint = range_text(range);
  entry.assign = [name, &field, range](const Json& value) {
    const bool fits = value.is_number() && std::isfinite(value.get<double>()) &&
                      value.get<double>() >= range.low && value.get<double>() <= range.high;
    if (!fits) refuse(name, "a finite number", range_text(range), value);
    field = value.get<double>();
  };
  entry.value = [&field] { return Json(field); };
  append(std::move(entry));
  return *this;
}

OptionSet& OptionSet::add(const std::string& name, std::string& field, const std::string& help,
                          std::vector<std::string> choices) {
  Entry entry;
  entry.name = name;
  entry.help = help;
  entry.constraint = joined(choices, " | ");
  entry.assign = [name, &field, choices = std::move(choices)](const Json& value) {
    if (!value.is_string()) refuse(name, "a text", joined(choices, " | "), value);
    require_choice(name, value.get<std::string>(), choices);
    field = value.get<std::string>();
  };
  entry.value = [&field] { return Json(field); };
  append(std::move(entry));
  return *this;
}

OptionSet& OptionSet::add(const std::string& name, std::vector<std::string>& field, const std::string& help,
                          std::vector<std::string> choices) {
  Entry entry;
  entry.name = name;
  entry.help = help;
  entry.constraint = joined(choices, " | ");
  entry.assign = [name, &field, choices = std::move(choices)](const Json& value) {
    const auto is_item = [](const Json& item) {
      return item.is_string() && !item.get<std::string>().empty();
    };
    if (!value.is_array() || !std::all_of(value.begin(), value.end(), is_item)) {
      refuse(name, "a list of texts", joined(choices, " | "), value);
    }
    for (const Json& item : value) require_choice(name, item.get<std::string>(), choices);
    field = value.get<std::vector<std::string>>();
  };
  entry.value = [&field] { return Json(field); };
  append(std::move(entry));
  return *this;
}

void OptionSet::append(Entry entry) {
  if (contains(entry.name)) {
    throw Error(ErrorKind::internal, "the option '" + entry.name + "' is declared twice");
  }
  try {
    entry.assign(entry.value());
  } catch (const Error& error) {
    throw Error(ErrorKind::internal, error.what(), "the default of '" + entry.name + "'");
  }
  entry.default_text = value_text(entry.value());
  entries_.push_back(std::move(entry));
}

bool OptionSet::contains(const std::string& name) const {
  return find_entry(entries_, name) != entries_.end();
}

void OptionSet::assign(const std::string& name, const Json& value, Origin origin, const std::string& where) {
  Entry& entry = entry_at(entries_, name, where);
  const Json present = entry.value();
  try {
    entry.assign(value);
  } catch (const Error& error) {
    throw Error(ErrorKind::usage, error.what(), where);
  }
  if (origin < entry.origin) {
    entry.assign(present);  // the value was worth checking all the same
  } else {
    entry.origin = origin;
  }
}

void OptionSet::assign_text(const std::string& name, const std::string& text, Origin origin,
                            const std::string& where) {
  assign(name, parsed(text, entry_at(entries_, name, where).value()), origin, where);
}

void OptionSet::assign_json(const Json& object, Origin origin, const std::string& where) {
  if (!object.is_object()) throw Error(ErrorKind::usage, "options must be a JSON object", where);
  for (const auto& [name, value] : object.items()) assign(name, value, origin, where);
}

void OptionSet::load_toml(const std::filesystem::path& path) {
  const auto at_line = [&](const toml::source_region& source) {
    return path.string() + ":" + std::to_string(source.begin.line);
  };
  const std::string text = read_file(path, max_config_bytes);
  toml::table table;
  try {
    table = toml::parse(text, path.string());
  } catch (const toml::parse_error& error) {
    throw Error(ErrorKind::usage, std::string(error.description()), at_line(error.source()));
  }
  for (const auto& [key, node] : table) {
    const std::string where = at_line(key.source());
    const std::string name(key.str());
    entry_at(entries_, name, where);
    assign(name, to_json_value(node, where), Origin::config_file, where);
  }
}

Json OptionSet::to_json() const {
  Json object = Json::object();
  for (const Entry& entry : entries_) object[entry.name] = entry.value();
  return object;
}

}  // namespace mcci
