#include "mcci/core/json.hpp"

#include "mcci/core/files.hpp"

namespace mcci {
namespace {

// nlohmann's messages begin with "[json.exception.parse_error.101] ".
std::string reason(const nlohmann::json::exception& error) {
  const std::string text = error.what();
  const std::size_t bracket = text.find("] ");
  return bracket == std::string::npos ? text : text.substr(bracket + 2);
}

}  // namespace

Json read_json(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const std::string text = read_file(path, max_bytes);
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::data, "is not valid JSON (" + reason(error) + ")", path.string());
  }
}

void write_json(const std::filesystem::path& path, const Json& value) {
  std::string text;
  try {
    text = value.dump(2) + "\n";
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::data, "cannot be written as JSON (" + reason(error) + ")", path.string());
  }
  write_file_atomically(path, text);
}

}  // namespace mcci
