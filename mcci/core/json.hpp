#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <nlohmann/json.hpp>

#include "mcci/core/error.hpp"

namespace mcci {

// Keys keep the order in which they were written, so that files read well and compare well.
using Json = nlohmann::ordered_json;

// Parses a JSON file of at most `max_bytes`.
// Errors: io if it cannot be read, data (naming file and position) if it is too large or no JSON.
Json read_json(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{256} << 20);

// Writes `value` indented, atomically (see files.hpp).
void write_json(const std::filesystem::path& path, const Json& value);

// Whether `value` is a T without loss. nlohmann takes 1.5 and true for integers too, and 1e300 is undefined
// behaviour there. Types other than numbers, bool and vectors are left to nlohmann.
template <class T>
struct JsonFits {
  static bool check(const Json& value) {
    if constexpr (std::is_same_v<T, bool>) {
      return value.is_boolean();
    } else if constexpr (std::is_integral_v<T>) {
      if (!value.is_number_integer()) return false;
      if (value.is_number_unsigned() || value.get<std::int64_t>() >= 0) {
        return value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<T>::max());
      }
      return std::is_signed_v<T> &&
             value.get<std::int64_t>() >= static_cast<std::int64_t>(std::numeric_limits<T>::min());
    } else if constexpr (std::is_floating_point_v<T>) {
      return value.is_number();
    }
    return true;
  }
};
template <class T>
struct JsonFits<std::vector<T>> {
  static bool check(const Json& value) {
    if (!value.is_array()) return false;
    for (const Json& item : value) {
      if (!JsonFits<T>::check(item)) return false;
    }
    return true;
  }
};
template <class T>
bool json_fits(const Json& value) {
  return JsonFits<T>::check(value);
}

// The member `key` of `object` as a T. `where` names the file in the error.
// Errors: data if the key is missing or its value is of another type.
template <class T>
T json_at(const Json& object, const std::string& key, const std::string& where) {
  if (!object.is_object() || !object.contains(key)) {
    throw Error(ErrorKind::data, "the key '" + key + "' is missing", where);
  }
  const Json& value = object.at(key);
  if (json_fits<T>(value)) {
    try {
      return value.get<T>();
    } catch (const nlohmann::json::exception&) {
    }
  }
  throw Error(ErrorKind::data, "the key '" + key + "' has the wrong type (" + value.type_name() + ")", where);
}

}  // namespace mcci
