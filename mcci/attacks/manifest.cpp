#include "mcci/attacks/manifest.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>

#include <ATen/ATen.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/data/fit.hpp"

namespace mcci {

namespace {

namespace fs = std::filesystem;

constexpr const char* schema = "mcci.manifest/1";

// Relative, and not leaving the folder it is relative to.
bool stays_below(const fs::path& path) {
  return !path.empty() && path.is_relative() && std::find(path.begin(), path.end(), "..") == path.end();
}

Json rates(const Manifest& manifest) {
  return {{"whole_set", manifest.rate_of_whole_set()}, {"target_class", manifest.rate_of_target_class()}};
}

Json header(const Manifest& manifest, const fs::path& folder) {
  Json json;
  json["schema"] = schema;
  json["attack"] = manifest.attack.to_json();
  json["source"] = manifest.source;
  json["shape"] = {manifest.shape.channels, manifest.shape.height, manifest.shape.width};
  json["classes"] = manifest.classes;
  json["count"] = manifest.size();
  json["rates"] = rates(manifest);
  json["artifacts"] = nullptr;
  if (!manifest.artifacts.empty()) {
    const fs::path relative = fs::absolute(manifest.artifacts).lexically_relative(fs::absolute(folder));
    if (!stays_below(relative)) {
      throw Error(ErrorKind::internal, "the artifacts must lie below the manifest's folder", folder.string());
    }
    json["artifacts"] = relative.generic_string();
  }
  return json;
}

// One line for each sample: the indented form would take seven.
void write_samples(std::ostream& file, const Manifest& manifest) {
  const auto true_label = manifest.true_labels.accessor<std::int64_t, 1>();
  const auto recorded_label = manifest.recorded_labels.accessor<std::int64_t, 1>();
  for (std::int64_t i = 0; i < manifest.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    Json sample;
    sample["path"] = manifest.paths[at];
    sample["role"] = to_string(manifest.roles[at]);
    sample["true_label"] = true_label[i];
    sample["recorded_label"] = recorded_label[i];
    if (!manifest.sha256.empty()) sample["sha256"] = manifest.sha256[at];
    file << (i == 0 ? "\n    " : ",\n    ") << sample.dump();
  }
}

Role role_named(const std::string& name, const std::string& where) {
  for (const Role role : {Role::clean, Role::poison, Role::cover}) {
    if (to_string(role) == name) return role;
  }
  throw Error(ErrorKind::data, "the key 'role' cannot be '" + name + "'", where,
              "use clean, poison or cover");
}

std::int64_t label_at(const Json& json, const std::string& key, std::int64_t classes,
                      const std::string& where) {
  const auto label = json_at<std::int64_t>(json, key, where);
  if (label < 0 || label >= classes) {
    throw Error(ErrorKind::data,
                "the key '" + key + "' is " + std::to_string(label) + ", which is none of the " +
                    std::to_string(classes) + " classes",
                where);
  }
  return label;
}

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

ImageShape shape_at(const Json& json, const std::string& where) {
  const auto sizes = json_at<std::vector<std::int64_t>>(json, "shape", where);
  const auto valid_side = [](std::int64_t side) { return side >= 1 && side <= max_side; };
  if (sizes.size() != 3 || (sizes[0] != 1 && sizes[0] != 3) || !valid_side(sizes[1]) ||
      !valid_side(sizes[2])) {
    throw Error(ErrorKind::data, "the key 'shape' must be [1 or 3, height, width]", where);
  }
  return {sizes[0], sizes[1], sizes[2]};
}

void read_samples(const Json& samples, const std::string& file, Manifest& manifest) {
  std::vector<std::int64_t> true_labels;
  std::vector<std::int64_t> recorded_labels;
  for (const Json& json : samples) {
    const std::string where = file + ", sample " + std::to_string(manifest.roles.size());
    manifest.paths.push_back(json_at<std::string>(json, "path", where));
    if (!stays_below(manifest.paths.back())) {
      throw Error(ErrorKind::data, "the key 'path' must be relative and stay in the data set", where);
    }
    manifest.roles.push_back(role_named(json_at<std::string>(json, "role", where), where));
    true_labels.push_back(label_at(json, "true_label", manifest.num_classes(), where));
    recorded_labels.push_back(label_at(json, "recorded_label", manifest.num_classes(), where));
    if (manifest.roles.back() != Role::poison && true_labels.back() != recorded_labels.back()) {
      throw Error(ErrorKind::data,
                  "only a sample of the role poison may have another label than its true one", where);
    }
    if (!json.contains("sha256")) continue;
    manifest.sha256.push_back(json_at<std::string>(json, "sha256", where));
    if (!is_sha256(manifest.sha256.back())) {
      throw Error(ErrorKind::data, "the key 'sha256' must be 64 lower-case hexadecimal digits", where);
    }
  }
  if (!manifest.sha256.empty() && manifest.sha256.size() != manifest.roles.size()) {
    throw Error(ErrorKind::data, "either all samples or none must have the key 'sha256'", file);
  }
  manifest.true_labels = at::tensor(true_labels, at::kLong);
  manifest.recorded_labels = at::tensor(recorded_labels, at::kLong);
}

// The rates are written for people; false ones mean that the file was changed by hand or cut.
void check_rates(const Json& json, const Manifest& manifest, const std::string& file) {
  const Json recorded = json_at<Json>(json, "rates", file);
  const Json true_rates = rates(manifest);
  for (const auto& [key, expected] : true_rates.items()) {
    const double rate = expected.get<double>();
    const bool agrees = std::isnan(rate) ? recorded.contains(key) && recorded.at(key).is_null()
                                         : std::abs(json_at<double>(recorded, key, file) - rate) < 1e-9;
    if (!agrees) throw Error(ErrorKind::data, "the rate '" + key + "' does not agree with the samples", file);
  }
}

}  // namespace

at::Tensor Manifest::poisoned() const {
  at::Tensor mask = at::empty({size()}, at::kBool);
  std::transform(roles.begin(), roles.end(), mask.data_ptr<bool>(),
                 [](Role role) { return role == Role::poison; });
  return mask;
}

double Manifest::rate_of_whole_set() const {
  return roles.empty() ? std::numeric_limits<double>::quiet_NaN()
                       : static_cast<double>(std::count(roles.begin(), roles.end(), Role::poison)) /
                             static_cast<double>(roles.size());
}

double Manifest::rate_of_target_class() const {
  const at::Tensor of_poison = recorded_labels.masked_select(poisoned());
  if (of_poison.numel() == 0 || (of_poison != of_poison[0]).any().item<bool>()) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return static_cast<double>(of_poison.numel()) /
         static_cast<double>(at::count_nonzero(recorded_labels == of_poison[0]).item<std::int64_t>());
}

void write_manifest(const fs::path& path, const Manifest& manifest) {
  write_file_atomically(path, [&](std::ostream& file) {
    try {
      std::string head = header(manifest, path.parent_path()).dump(2);
      head.erase(head.rfind('\n'));  // "\n}"
      file << head << ",\n  \"samples\": [";
      write_samples(file, manifest);
      file << "\n  ]\n}\n";
    } catch (const nlohmann::json::exception&) {
      throw Error(ErrorKind::data, "a name that it shall hold is not UTF-8 text", path.string());
    }
  });
}

Manifest read_manifest(const fs::path& path) {
  const std::string file = path.string();
  const Json json = read_json(path);
  if (const auto found = json_at<std::string>(json, "schema", file); found != schema) {
    throw Error(ErrorKind::data, "the schema is '" + found + "', not " + schema, file);
  }

  Manifest manifest;
  manifest.attack = AttackSpec::from_json(json_at<Json>(json, "attack", file), file);
  manifest.source = json_at<std::string>(json, "source", file);
  manifest.shape = shape_at(json, file);
  manifest.classes = json_at<std::vector<std::string>>(json, "classes", file);
  if (!json.contains("samples") || !json.at("samples").is_array()) {
    throw Error(ErrorKind::data, "the key 'samples' must be an array", file);
  }
  read_samples(json.at("samples"), file, manifest);
  if (json_at<std::int64_t>(json, "count", file) != manifest.size()) {
    throw Error(ErrorKind::data, "the key 'count' is not the number of samples", file);
  }
  check_rates(json, manifest, file);

  if (!json.contains("artifacts") || json.at("artifacts").is_null()) return manifest;
  const fs::path artifacts = json_at<std::string>(json, "artifacts", file);
  if (!stays_below(artifacts)) {
    throw Error(ErrorKind::data, "the key 'artifacts' must be a folder below the manifest's", file);
  }
  manifest.artifacts = path.parent_path() / artifacts;
  return manifest;
}

std::unique_ptr<Attack> attack_of(const Manifest& manifest) {
  std::unique_ptr<Attack> attack = make_attack(manifest.attack);
  attack->prepare(
      {manifest.shape, manifest.num_classes(), manifest.attack.plan, manifest.artifacts, nullptr});
  return attack;
}

}  // namespace mcci
