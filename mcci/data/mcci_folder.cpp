#include <charconv>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/json.hpp"
#include "mcci/data/fit.hpp"
#include "mcci/data/source.hpp"

namespace fs = std::filesystem;

namespace mcci {
namespace {

constexpr const char* schema = "mcci.dataset/1";
constexpr std::uint64_t max_text_bytes = std::uint64_t{1} << 30;

// The folder of dataset.json: `folder` or, beside the truth, `folder`/dataset.
fs::path description_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "dataset.json", ignored) ? folder : folder / "dataset";
}

bool stays_inside(const fs::path& path) {
  if (path.empty() || path.is_absolute()) return false;
  for (const fs::path& part : path) {
    if (part == "..") return false;
  }
  return path.native().find('\0') == std::string::npos;
}

ImageShape read_shape(const Json& description, const std::string& where) {
  const auto sizes = json_at<std::vector<std::int64_t>>(description, "shape", where);
  if (sizes.size() != 3) throw Error(ErrorKind::data, "'shape' is not [channels, height, width]", where);
  const ImageShape shape{sizes[0], sizes[1], sizes[2]};
  const auto is_side = [](std::int64_t side) { return side >= 1 && side <= max_side; };
  if ((shape.channels != 1 && shape.channels != 3) || !is_side(shape.height) || !is_side(shape.width)) {
    throw Error(ErrorKind::data, "'shape' is " + to_text(shape), where,
                "1 or 3 channels and sides of 1 .. " + std::to_string(max_side) + " are expected");
  }
  return shape;
}

// Appends the samples that labels.csv lists.
void read_samples(const fs::path& path, FileSource& source) {
  const std::string text = read_file(path, max_text_bytes);
  std::unordered_set<std::string> seen;
  std::string_view rest = text;
  for (std::int64_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const std::string where = path.string() + ":" + std::to_string(number);
    if (number == 1) {
      if (line != "path,label") throw Error(ErrorKind::data, "the first line is not 'path,label'", where);
      continue;
    }
    const std::size_t comma = line.rfind(',');
    if (comma == std::string_view::npos) throw Error(ErrorKind::data, "the line is not 'path,label'", where);
    const std::string file(line.substr(0, comma));
    const std::string_view digits = line.substr(comma + 1);
    std::int64_t label = -1;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), label);
    if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) {
      throw Error(ErrorKind::data, "the label '" + std::string(digits) + "' is no number", where);
    }
    if (label < 0 || label >= static_cast<std::int64_t>(source.classes.size())) {
      throw Error(ErrorKind::data,
                  "label " + std::to_string(label) + ", but there are " +
                      std::to_string(source.classes.size()) + " classes",
                  where);
    }
    if (!stays_inside(file)) {
      throw Error(ErrorKind::data, "the path '" + file + "' leads out of the data set", where,
                  "paths are relative to the folder and have no '..'");
    }
    if (!seen.insert(file).second) {
      throw Error(ErrorKind::data, "the path '" + file + "' is there twice", where);
    }
    source.paths.push_back(file);
    source.labels.push_back(label);
  }
}

}  // namespace

bool is_mcci_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(description_folder(folder) / "dataset.json", ignored);
}

DatasetPtr open_mcci_folder(const OpenRequest& request) {
  if (request.split == Split::test) {
    throw Error(ErrorKind::usage, "a data set written by mcci has no test split", request.folder.string(),
                "name a clean test set");
  }
  FileSource source;
  source.root = description_folder(request.folder);
  const fs::path description_path = source.root / "dataset.json";
  const std::string where = description_path.string();
  const Json description = read_json(description_path);
  const auto found = json_at<std::string>(description, "schema", where);
  if (found != schema) {
    throw Error(ErrorKind::data, "the schema is '" + found + "', not '" + schema + "'", where,
                "use the version of mcci that wrote it");
  }
  source.classes = json_at<std::vector<std::string>>(description, "classes", where);
  if (source.classes.empty()) throw Error(ErrorKind::data, "'classes' is empty", where);
  source.declared = read_shape(description, where);
  read_samples(source.root / "labels.csv", source);
  const auto count = json_at<std::int64_t>(description, "count", where);
  if (count != static_cast<std::int64_t>(source.paths.size())) {
    throw Error(ErrorKind::data,
                "'count' is " + std::to_string(count) + ", but labels.csv lists " +
                    std::to_string(source.paths.size()) + " samples",
                where);
  }
  const ImageShape target = fitted_shape(*source.declared, request.options);
  return load_files(std::move(source), target, request.options);
}

}  // namespace mcci
