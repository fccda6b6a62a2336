#include <algorithm>
#include <iostream>
#include <map>
#include <sstream>

#include "mcci/attacks/manifest.hpp"
#include "mcci/cli/arguments.hpp"
#include "mcci/core/json.hpp"
#include "mcci/state/names.hpp"
#include "mcci/state/outline.hpp"
#include "mcci/state/weights.hpp"

namespace mcci {
namespace {

constexpr std::size_t longest_value = 100;  // of metadata, in the table

struct Inspect {
  std::string path;
  std::string format = "text";
  bool all = false;
};

// Whether a name can be shown as it is.
bool is_plain(const std::string& text) { return shown_name(text) == "\"" + text + "\""; }

std::string shown(const std::string& text) { return is_plain(text) ? text : shown_name(text); }

std::string with_thousands(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (std::ptrdiff_t at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

// --- what is in it ---

Json of_weights(const std::filesystem::path& path, bool all) {
  const WeightFile weights = read_weights(path, Content::shapes);
  std::int64_t parameters = 0;
  std::int64_t bytes = 0;
  std::map<std::string, std::int64_t> dtypes;
  for (const auto& [name, tensor] : weights.tensors) {
    if (tensor.is_floating_point()) parameters += tensor.numel();
    bytes += tensor.numel() * static_cast<std::int64_t>(tensor.element_size());
    ++dtypes[dtype_name(tensor)];
  }
  Json json = {{"kind", "weights"},
               {"format", weights.format},
               {"files", Json::array()},
               {"tensors", weights.tensors.size()},
               {"parameters", parameters},
               {"bytes", bytes},
               {"dtypes", dtypes},
               {"metadata", weights.metadata},
               {"left_out", weights.left_out}};
  for (const auto& file : weights.files) json["files"].push_back(file.string());
  json["names"] = Json::array();
  for (const OutlineRow& row : outline(weights.tensors, all))
    json["names"].push_back(
        {{"name", row.name}, {"shape", row.shape}, {"dtype", row.dtype}, {"count", row.count}});

  const auto own = weights.metadata.find("mcci");
  const Json state = own == weights.metadata.end() ? Json() : Json::parse(own->second, nullptr, false);
  if (!state.is_object() || !state.contains("schema")) return json;
  json["kind"] = "checkpoint";
  json["metadata"].erase("mcci");
  for (const auto& [key, value] : state.items()) {
    if (value.is_primitive()) json["metadata"][key] = value;
  }
  return json;
}

Json of_run(const std::filesystem::path& folder) {
  const RunFiles files{folder};
  const Json config = read_json(files.config());
  const std::string where = files.config().string();
  Json json = {{"kind", "run"},
               {"schema", json_at<std::string>(config, "schema", where)},
               {"finished", std::filesystem::exists(files.result())},
               {"training_images", json_at<std::int64_t>(config, "training_images", where)},
               {"classes", json_at<std::vector<std::string>>(config, "classes", where)},
               {"shape", json_at<std::vector<std::int64_t>>(config, "shape", where)},
               {"options", json_at<Json>(config, "options", where)}};
  json["files"] = Json::array();
  for (const auto& file : {files.checkpoint(), files.result(), files.report()}) {
    if (std::filesystem::exists(file)) json["files"].push_back(file.string());
  }
  return json;
}

Json of_manifest(const std::filesystem::path& path) {
  const Manifest manifest = read_manifest(path);
  const auto count = [&](Role role) {
    return std::count(manifest.roles.begin(), manifest.roles.end(), role);
  };
  return {{"kind", "manifest"},
          {"attack", manifest.attack.name},
          {"preset", manifest.attack.preset},
          {"source", manifest.source},
          {"shape", {manifest.shape.channels, manifest.shape.height, manifest.shape.width}},
          {"classes", manifest.classes},
          {"samples", manifest.size()},
          {"poison", count(Role::poison)},
          {"cover", count(Role::cover)},
          {"clean", count(Role::clean)}};
}

// The schema of a JSON file of mcci; empty for anything else.
std::string schema_of(const std::filesystem::path& path) {
  std::error_code unknown;
  if (!std::filesystem::is_regular_file(path, unknown) || path.extension() != ".json") return "";
  const Json json = read_json(path);
  return json.is_object() && json.contains("schema") && json["schema"].is_string()
             ? json["schema"].get<std::string>()
             : "";
}

Json inspect(const std::filesystem::path& path, bool all) {
  if (std::filesystem::exists(RunFiles{path}.config()) &&
      schema_of(RunFiles{path}.config()).rfind("mcci.run/", 0) == 0) {
    return of_run(path);
  }
  if (schema_of(path).rfind("mcci.manifest/", 0) == 0) return of_manifest(path);
  return of_weights(path, all);
}

// --- for reading ---

std::string value_text(const Json& value) {
  std::string text;
  if (value.is_string()) {
    text = shown(value.get<std::string>());
  } else if (value.is_number_integer()) {
    text = with_thousands(value.get<std::int64_t>());
  } else if (value.is_array()) {
    for (const Json& item : value) text += (text.empty() ? "" : ", ") + value_text(item);
  } else {
    text = value.dump();
  }
  return text.size() > longest_value ? text.substr(0, longest_value) + "..." : text;
}

// Names and values in two columns.
void print_fields(const Json& fields, const std::string& indent = "") {
  std::size_t width = 0;
  for (const auto& [name, value] : fields.items()) width = std::max(width, shown(name).size());
  for (const auto& [name, value] : fields.items()) {
    if (value.empty()) continue;
    std::string label = shown(name);
    std::replace(label.begin(), label.end(), '_', ' ');
    if (value.is_object()) {
      std::cout << indent << label << "\n";
      print_fields(value, indent + "  ");
    } else {
      std::cout << indent << label << std::string(width + 2 - std::min(label.size(), width), ' ')
                << value_text(value) << "\n";
    }
  }
}

void print_names(const Json& rows) {
  std::size_t name_width = 0, shape_width = 0;
  for (const Json& row : rows) {
    name_width = std::max(name_width, shown(row["name"].get<std::string>()).size());
    shape_width = std::max(shape_width, row["shape"].dump().size());
  }
  std::cout << "\n";
  for (const Json& row : rows) {
    const std::string name = shown(row["name"].get<std::string>());
    const std::string shape = row["shape"].dump();
    std::cout << name << std::string(name_width + 2 - name.size(), ' ') << shape
              << std::string(shape_width + 2 - shape.size(), ' ') << row["dtype"].get<std::string>();
    if (row["count"].get<std::int64_t>() > 1) std::cout << "  x" << row["count"].get<std::int64_t>();
    std::cout << "\n";
  }
}

void run(const Inspect& options) {
  Json found = inspect(options.path, options.all);
  if (options.format == "json") {
    Json document = {{"schema", "mcci.inspect/1"}, {"path", options.path}};
    document.update(found);
    std::cout << document.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  const Json names = found.contains("names") ? found["names"] : Json();
  found.erase("names");
  print_fields(found);
  if (!names.empty()) print_names(names);
}

}  // namespace

void add_inspect(CLI::App& program, const Arguments& /*arguments*/) {
  CLI::App* command = program.add_subcommand(
      "inspect", "what a file or folder holds: weights, a checkpoint, a run, a manifest");
  command->footer(
      "Example: mcci inspect resnet18.pth\n"
      "Reads safetensors, PyTorch's .pth and .bin, an index of several such files, a folder with one of "
      "these. "
      "No code in them is run, and the numbers themselves are not loaded.");
  const auto options = std::make_shared<Inspect>();
  command->add_option("path", options->path, "file or folder")->required()->type_name("");
  command->add_flag("--all", options->all, "every tensor on a line of its own, alike blocks too");
  command->add_option("--format", options->format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->type_name("")
      ->capture_default_str();
  command->allow_extras();
  command->callback([command, options] {
    refuse_unknown(*command);
    run(*options);
  });
}

}  // namespace mcci
