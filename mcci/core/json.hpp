#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "mcci/core/error.hpp"

namespace mcci {

// Keys keep the order in which they were written, so that files read well and compare well.
using Json = nlohmann::ordered_json;

// Parses a JSON file of at most `max_bytes`.
// Errors: io if it cannot be read, data (naming file and position) if it is too large or no JSON.
Json read_json(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{256} << 20);

// Writes `value` indented, atomically (see files.hpp).
void write_json(const std::filesystem::path& path, const Json& value);

// The member `key` of `object` as a T. `where` names the file in the error when it is missing or of another type.
template <class T>
T json_at(const Json& object, const std::string& key, const std::string& where) {
  if (!object.is_object() || !object.contains(key)) {
    throw Error(ErrorKind::data, "the key '" + key + "' is missing", where);
  }
  try {
    return object.at(key).get<T>();
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::data, "the key '" + key + "' has the wrong type (" + error.what() + ")", where);
  }
}

}  // namespace mcci
