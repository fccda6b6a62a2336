#include "mcci/state/weights.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <system_error>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/hash.hpp"
#include "mcci/core/json.hpp"
#include "mcci/state/names.hpp"
#include "mcci/state/pth.hpp"
#include "mcci/state/sized_file.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t max_index_bytes = std::uint64_t{64} << 20;

enum class Kind { unknown, safetensors, zip, index, pickle, tar, pointer };

// By the first bytes alone.
Kind kind_of(const fs::path& path) {
  SizedFile file(path);
  const std::string head = file.read(0, std::min<std::uint64_t>(file.size(), 512));
  const auto begins_with = [&](const std::string& text, std::size_t at = 0) {
    return head.size() >= at + text.size() && head.compare(at, text.size(), text) == 0;
  };
  if (begins_with("PK\x03\x04")) return Kind::zip;
  std::uint64_t header_bytes = 0;
  if (head.size() > sizeof header_bytes) std::memcpy(&header_bytes, head.data(), sizeof header_bytes);
  const bool has_header = begins_with("{", sizeof header_bytes);
  if (has_header && header_bytes < file.size()) return Kind::safetensors;
  if (begins_with("{")) return Kind::index;
  if (has_header) return Kind::safetensors;  // cut off
  if (begins_with("version https://git-lfs")) return Kind::pointer;
  if (begins_with("ustar", 257)) return Kind::tar;
  if (begins_with("\x80") && head.size() > 1 && head[1] >= 1 && head[1] <= 5) return Kind::pickle;
  return Kind::unknown;
}

TensorFile read_one(const fs::path& path, Kind kind, Content content) {
  const std::string where = path.string();
  switch (kind) {
    case Kind::safetensors:
      return load_safetensors(path, content);
    case Kind::zip:
      return load_pth(path, content);
    case Kind::pickle:
    case Kind::tar:
      throw Error(
          ErrorKind::data, "is in PyTorch's legacy format, of before version 1.6, which is not read here",
          where,
          "re-save it in Python, if you trust it: torch.save(torch.load(FILE, map_location='cpu'), NEW)");
    case Kind::pointer:
      throw Error(ErrorKind::data, "is a pointer of Git LFS, not the file itself", where,
                  "fetch it: git lfs pull");
    case Kind::index:
    case Kind::unknown:
      break;
  }
  throw Error(ErrorKind::data, "is in none of the formats that are read here", where,
              "use safetensors, or a state_dict that torch.save wrote");
}

const char* format_name(Kind kind) { return kind == Kind::zip ? "pytorch" : "safetensors"; }

// "a", "b" and how many more.
std::string some_names(const std::vector<std::string>& names) {
  constexpr std::size_t most = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i)
    text += (i == 0 ? "" : ", ") + shown_name(names[i]);
  return names.size() > most ? text + " and " + std::to_string(names.size() - most) + " more" : text;
}

// Tensors by the file that holds them.
using Shards = std::map<std::string, std::set<std::string>>;

// Empty if the JSON is something else than an index.
Shards read_index(const fs::path& path) {
  const std::string where = path.string();
  const auto fail = [&](const std::string& what) { throw Error(ErrorKind::data, what, where); };
  // The parser keeps the last of two equal keys; a name that occurs twice must not pass.
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      fail("names " + shown_name(parsed.get<std::string>()) + " twice");
    if (depth > 100) fail("is nested too deeply");
    return true;
  };
  Json index;
  try {
    index = Json::parse(read_file(path, max_index_bytes), watch);
  } catch (const nlohmann::json::exception&) {
    fail("is neither valid JSON nor in any other format that is read here");
  }
  Shards shards;
  if (!index.is_object() || !index.contains("weight_map")) return shards;
  if (!index["weight_map"].is_object() || index["weight_map"].empty())
    fail("its weight_map names no tensors");
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string()) fail("names no file for " + shown_name(tensor));
    const auto name = file.get<std::string>();
    const bool plain = !name.empty() && name != "." && name != ".." &&
                       name.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
    if (!plain) fail("names the file " + shown_name(name) + ", which is not in its own folder");
    shards[name].insert(tensor);
  }
  return shards;
}

void check_shard(const TensorFile& shard, const std::string& file, const std::set<std::string>& expected,
                 const std::string& where) {
  std::vector<std::string> unexpected;
  std::set<std::string> missing = expected;
  for (const auto& [name, tensor] : shard.tensors) {
    if (missing.erase(name) == 0) unexpected.push_back(name);
  }
  if (!missing.empty()) {
    throw Error(ErrorKind::data,
                shown_name(file) + " lacks " + some_names({missing.begin(), missing.end()}) +
                    ", which should be in it",
                where);
  }
  if (!unexpected.empty()) {
    throw Error(ErrorKind::data,
                shown_name(file) + " also holds " + some_names(unexpected) +
                    ", which belongs in another file or in none",
                where);
  }
}

WeightFile read_shards(const fs::path& path, Content content) {
  const std::string where = path.string();
  const Shards shards = read_index(path);
  if (shards.empty())
    throw Error(ErrorKind::data, "is JSON, but no index of weights", where, "it has no weight_map");
  std::vector<std::string> missing;
  for (const auto& [name, tensors] : shards) {
    std::error_code unknown;
    if (!fs::is_regular_file(path.parent_path() / fs::u8path(name), unknown)) missing.push_back(name);
  }
  if (!missing.empty()) {
    throw Error(ErrorKind::data, "names files that are missing: " + some_names(missing), where,
                "put them beside the index");
  }
  WeightFile result;
  result.files.push_back(path);
  std::string format;
  for (const auto& [name, tensors] : shards) {
    const fs::path file = path.parent_path() / fs::u8path(name);
    const Kind kind = kind_of(file);
    TensorFile shard = read_one(file, kind, content);
    check_shard(shard, name, tensors, where);
    format = format_name(kind);
    result.tensors.insert(result.tensors.end(), std::make_move_iterator(shard.tensors.begin()),
                          std::make_move_iterator(shard.tensors.end()));
    result.metadata.insert(shard.metadata.begin(), shard.metadata.end());
    result.left_out.insert(result.left_out.end(), shard.left_out.begin(), shard.left_out.end());
    result.files.push_back(file);
  }
  result.format = format + " in " + std::to_string(shards.size()) + (shards.size() == 1 ? " file" : " files");
  return result;
}

// The one file of weights, or the index, in a folder.
fs::path weights_in(const fs::path& folder) {
  std::map<Kind, std::vector<fs::path>> found;
  std::vector<fs::path> indices_of_safetensors;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code unknown;
    if (!entry->is_regular_file(unknown)) continue;
    const Kind kind = kind_of(entry->path());
    if (kind == Kind::index) {
      const Shards shards = read_index(entry->path());
      if (shards.empty()) continue;  // a model's configuration, say
      const fs::path first = folder / fs::u8path(shards.begin()->first);
      if (fs::exists(first, unknown) && kind_of(first) == Kind::safetensors)
        indices_of_safetensors.push_back(entry->path());
    }
    found[kind].push_back(entry->path());
  }
  if (error) throw Error(ErrorKind::io, "cannot be read (" + error.message() + ")", folder.string());
  if (!indices_of_safetensors.empty()) found[Kind::index] = indices_of_safetensors;
  for (const Kind kind : {Kind::index, Kind::safetensors, Kind::zip, Kind::pickle}) {
    const auto& files = found[kind];
    if (files.size() == 1) return files.front();
    if (files.size() > 1) {
      std::vector<std::string> names;
      for (const fs::path& file : files) names.push_back(file.filename().string());
      std::sort(names.begin(), names.end());
      throw Error(ErrorKind::usage, "holds several files of weights: " + some_names(names), folder.string(),
                  "name one of them");
    }
  }
  throw Error(ErrorKind::usage, "holds no file of weights", folder.string(),
              "name a safetensors file, one of torch.save, or an index of such files");
}

}  // namespace

WeightFile read_weights(const fs::path& path, Content content) {
  std::error_code unknown;
  const fs::path file = fs::is_directory(path, unknown) ? weights_in(path) : path;
  const Kind kind = kind_of(file);
  if (kind == Kind::index) return read_shards(file, content);
  WeightFile result;
  static_cast<TensorFile&>(result) = read_one(file, kind, content);
  result.format = format_name(kind);
  result.files = {file};
  return result;
}

std::string content_hash(const WeightFile& weights) {
  std::string hashes;
  for (const fs::path& file : weights.files) hashes += sha256_file(file);
  return sha256(hashes);
}

}  // namespace mcci
