#include "mcci/suite/plan.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <utility>

#include "mcci/core/error.hpp"
#include "mcci/core/hash.hpp"
#include "mcci/core/version.hpp"
#include "mcci/data/content_hash.hpp"
#include "mcci/suite/defenses.hpp"
#include "mcci/suite/evaluation.hpp"
#include "mcci/suite/run.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;

// Raised whenever units compute something else from the same options.
constexpr int format = 2;
constexpr std::size_t key_digits = 32;
constexpr std::size_t max_cells = 100'000;
constexpr std::int64_t max_shards = 10'000;

const std::vector<std::pair<Unit::Kind, std::string>> kinds = {
    {Unit::Kind::poison, "poison"}, {Unit::Kind::cell, "cell"}, {Unit::Kind::oracle, "oracle"}};

std::string key_of(const std::string& unit, Json determinants) {
  determinants["unit"] = unit;
  determinants["format"] = format;
  determinants["mcci"] = version();
  return sha256(determinants.dump()).substr(0, key_digits);
}

void add_content(const fs::path& path, std::map<std::string, std::string>& contents) {
  std::error_code unreadable;
  if (fs::is_regular_file(path, unreadable)) contents[path.string()] = sha256_file(path);
  if (!fs::is_directory(path, unreadable)) return;
  const auto options = fs::directory_options::skip_permission_denied;
  for (auto entry = fs::recursive_directory_iterator(path, options, unreadable);
       !unreadable && entry != fs::recursive_directory_iterator(); entry.increment(unreadable)) {
    if (entry->is_regular_file(unreadable)) contents[entry->path().string()] = sha256_file(entry->path());
  }
}

// The content of every file and folder that an option names, e.g. the picture that is blended in; in a text
// of several words each word, or what follows its "=". Options with a choice of words name no files.
Json contents_of(const Json& options, const OptionSet& declared) {
  std::map<std::string, std::string> contents;
  for (const OptionSet::Entry& entry : declared.entries()) {
    if (!entry.constraint.empty() || !options.contains(entry.name)) continue;
    const Json& value = options.at(entry.name);
    for (const Json& item : value.is_array() ? value : Json::array({value})) {
      if (!item.is_string() || item.get<std::string>().empty()) continue;
      const auto text = item.get<std::string>();
      add_content(text, contents);
      std::istringstream words(text);
      for (std::string word; words >> word;) {
        add_content(word.substr(word.find('=') + 1), contents);  // npos + 1 is 0
      }
    }
  }
  return contents;
}

// What checking an entry of the grid throws, with the entry's place.
template <class Check>
auto at_entry(const std::string& where, const Check& check) {
  try {
    return check();
  } catch (const Error& error) {
    throw Error(error.kind(), error.what(), where);
  }
}

DatasetOptions dataset_options(const Json& given, const std::string& where) {
  DatasetOptions options;
  OptionSet set;
  options.declare(set);
  set.assign_json(given, Origin::config_file, where);
  return options;
}

Json to_json(DatasetOptions options) {
  OptionSet set;
  options.declare(set);
  return set.to_json();
}

DatasetOptions resolved_dataset(const GridData& data) {
  return with_alias_options(data.name, dataset_options(data.options, data.where));
}

// Both splits as images of one shape.
DatasetOptions with_shape(DatasetOptions options, const ImageShape& shape) {
  options.channels = shape.channels;
  if (shape.height == shape.width) options.image_size = shape.height;
  return options;
}

// What the other defenses are compared with.
bool is_reference(const GridDefense& defense) { return defense.name == "none" && !defense.told; }

// Every option of the run but those that name the data.
Json resolved_run(const Grid& grid, const GridModel& model, const GridDefense& defense, std::int64_t seed) {
  const auto config = at_entry(defense.where, [&] { return std::make_unique<RunConfig>(defense.name); });
  const auto assign = [&](const Json& options, const std::string& where) {
    for (const char* key : {"data", "defense", "preset", "backbone", "width", "depth", "weights", "seed"}) {
      if (options.contains(key)) {
        throw Error(ErrorKind::usage, std::string("'") + key + "' is no option here", where,
                    "the grid has a key for it");
      }
    }
    config->options.assign_json(options, Origin::config_file, where);
  };
  assign(grid.train, grid.train_where);
  assign(model.options, model.where);
  assign(defense.options, defense.where);
  at_entry(model.where, [&] {
    config->options.assign_json({{"backbone", model.backbone},
                                 {"width", model.width},
                                 {"depth", model.depth},
                                 {"weights", model.weights}},
                                Origin::config_file, "");
  });
  at_entry(defense.where, [&] {
    config->options.assign_json({{"preset", defense.preset}, {"seed", seed}}, Origin::config_file, "");
    config->apply_preset();
  });
  Json options = config->options.to_json();
  options.erase("data");
  const Json of_data = to_json(DatasetOptions());
  for (const auto& [name, value] : of_data.items()) options.erase(name);
  return options;
}

// Options that have their defaults say nothing: so a key stays what it is when an option is added. `fresh`
// has been assigned nothing.
Json without_defaults(Json options, const OptionSet& fresh) {
  const Json defaults = fresh.to_json();
  for (const auto& [name, value] : defaults.items()) {
    if (options.contains(name) && options[name] == value) options.erase(name);
  }
  return options;
}

// What can change the trained model.
Json determinants_of(const Json& run) {
  Json options = run;
  options.erase("checkpoint-minutes");
  options.erase("workers");
  const RunConfig declared(run.at("defense"));
  return {{"defense", run.at("defense")},
          {"options", without_defaults(options, declared.options)},
          {"files", contents_of(options, declared.options)}};
}

std::string percent_text(double share) {
  std::ostringstream text;
  text << 100 * share << " %";
  return text.str();
}

template <class Entry>
std::string label_of(const Entry& entry) {
  return entry.label.empty() ? entry.name : entry.label;
}

// A data set's path says nothing to others.
std::string label_of(const GridData& data) {
  if (!data.label.empty()) return data.label;
  const fs::path path = fs::path(data.name).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

std::string label_of(const GridModel& model) {
  if (!model.label.empty()) return model.label;
  return model.backbone + (model.width > 0 ? "-w" + std::to_string(model.width) : "") +
         (model.depth > 0 ? "-d" + std::to_string(model.depth) : "") +
         (model.weights.empty() ? "" : " from " + fs::path(model.weights).stem().string());
}

void with_default_preset(GridDefense& defense) {
  if (!defense.preset.empty()) return;
  defense.preset = at_entry(defense.where, [&] { return default_preset(*defenses().at(defense.name)()); });
}

class Planner {
 public:
  Planner(const Grid& grid, const std::vector<DataIdentity>& identities)
      : grid_(grid), identities_(identities), defenses_(grid.defenses) {
    for (GridDefense& defense : defenses_) {
      with_default_preset(defense);
      if (!defense.told || defense.name == "none") continue;
      throw Error(ErrorKind::usage, "only 'none' can be told the truth", defense.where,
                  "no defense sees the manifest");
    }
    // Undefended cells come first, since the others are compared with them.
    const auto others = std::stable_partition(defenses_.begin(), defenses_.end(), is_reference);
    if (others != defenses_.begin()) return;
    GridDefense none;
    none.name = "none";
    none.preset = grid.preset;
    with_default_preset(none);
    defenses_.insert(defenses_.begin(), none);
  }

  Plan operator()();

 private:
  // A set to train on: of one seed, clean or poisoned.
  struct Set {
    const GridData* data;
    const DataIdentity* identity;
    Json dataset;
    std::int64_t seed;
    const GridAttack* attack = nullptr;  // null: the clean set
    double rate = 0;
    std::string poisoned;
    AttackSpec spec;
    bool pictured = false;
  };

  void add_set(Set set, bool undefended_only);
  void add_poison(Set& set);
  Task cell(const Set& set, const GridModel& model, const GridDefense& defense) const;
  Task oracle(const Set& set, const Task& attacked, const std::string& clean_cell,
              const std::string& clean_model) const;
  Unit unit_of(const Set& set) const;
  std::string place_of(const Set& set) const;
  double highest_rate(const GridAttack& attack) const;
  const std::vector<double>& rates_of(const GridAttack& attack) const {
    return attack.rates.empty() ? grid_.rates : attack.rates;
  }

  const Grid& grid_;
  const std::vector<DataIdentity>& identities_;
  std::vector<GridDefense> defenses_;
  Plan plan_;
  std::set<std::string> keys_;
  // By data set, model, undefended entry and seed: the key of the clean cell and of its model.
  std::map<std::string, std::pair<std::string, std::string>> clean_;
  std::map<std::string, std::string> last_of_model_;  // by the key of the model: that of the last cell
};

double Planner::highest_rate(const GridAttack& attack) const {
  const std::vector<double>& rates = rates_of(attack);
  return *std::max_element(rates.begin(), rates.end());
}

std::string Planner::place_of(const Set& set) const {
  const std::string data = label_of(*set.data);
  if (set.attack == nullptr) return "clean " + data;
  const bool of_class = set.attack->rate_of == RateOf::target_class;
  return label_of(*set.attack) + " " + percent_text(set.rate) + (of_class ? " of its class" : "") + " on " +
         data;
}

Unit Planner::unit_of(const Set& set) const {
  Unit unit;
  unit.source = set.data->name;
  unit.dataset = set.dataset;
  unit.dataset_label = label_of(*set.data);
  unit.attack_label = "none";
  unit.attack.plan.rate = 0;
  if (set.attack != nullptr) {
    unit.poisoned = set.poisoned;
    unit.attack = set.spec;
    unit.attack_label = label_of(*set.attack);
  }
  unit.test_images = grid_.test_images;
  return unit;
}

void Planner::add_poison(Set& set) {
  AttackSpec given;
  given.name = set.attack->name;
  given.preset = set.attack->preset;
  given.options = set.attack->options;
  given.plan = {set.rate, set.attack->rate_of, static_cast<std::uint64_t>(set.seed)};
  set.spec = at_entry(set.attack->where, [&] { return resolve(given); });
  OptionSet declared;
  const std::unique_ptr<Attack> attack = attacks().at(set.spec.name)();
  attack->declare(declared);
  Json spec = set.spec.to_json();
  spec["options"] = without_defaults(spec["options"], declared);
  set.poisoned = key_of(
      "poison",
      {{"data", set.identity->train}, {"attack", spec}, {"files", contents_of(set.spec.options, declared)}});
  if (!keys_.insert(set.poisoned).second) {
    throw Error(ErrorKind::usage, "the grid asks for " + place_of(set) + " twice", set.attack->where,
                "leave one out");
  }
  Task task;
  task.unit = unit_of(set);
  task.unit.kind = Unit::Kind::poison;
  task.unit.key = set.poisoned;
  task.unit.title = "poisoning: " + place_of(set) + ", seed " + std::to_string(set.seed);
  task.group = set.poisoned;
  plan_.tasks.push_back(std::move(task));
}

Task Planner::cell(const Set& set, const GridModel& model, const GridDefense& defense) const {
  Task task;
  Unit& unit = task.unit;
  unit = unit_of(set);
  unit.run = resolved_run(grid_, model, defense, set.seed);
  unit.curve_images = grid_.curve_images;
  unit.perception = defense.perception;
  at_entry(defense.where, [&] { perception_of(unit.perception); });
  unit.pictured = set.pictured && perception_of(unit.perception) == Perception::clean;
  unit.model_label = label_of(model);
  unit.defense_label = label_of(defense);
  Json trained = determinants_of(unit.run);
  trained["data"] = set.attack == nullptr ? set.identity->train : set.poisoned;
  unit.told = defense.told;
  if (unit.told) trained["told"] = true;
  trained["curve"] = grid_.curve_images == 0 ? Json() : Json({grid_.curve_images, set.identity->test});
  unit.model = key_of("model", trained);
  Json measured = {{"model", unit.model},
                   {"attack", set.poisoned},
                   {"test", set.identity->test},
                   {"test images", grid_.test_images}};
  if (unit.perception != "clean") measured["perception"] = unit.perception;
  unit.key = key_of("cell", measured);
  unit.title = unit.defense_label + " (" + defense.preset + ") on " + place_of(set) + ", " +
               unit.model_label + ", seed " + std::to_string(set.seed);
  task.group = set.attack == nullptr ? set.identity->train + std::to_string(set.seed) : set.poisoned;
  task.listed = true;
  if (set.attack != nullptr) task.needs.push_back(set.poisoned);
  return task;
}

Task Planner::oracle(const Set& set, const Task& attacked, const std::string& clean_cell,
                     const std::string& clean_model) const {
  Task task = attacked;
  task.unit.kind = Unit::Kind::oracle;
  task.unit.title =
      "oracle: " + place_of(set) + ", " + task.unit.model_label + ", seed " + std::to_string(set.seed);
  task.unit.model = clean_model;
  task.unit.pictured = false;
  task.unit.key = key_of("oracle", {{"model", clean_model},
                                    {"attack", set.poisoned},
                                    {"test", set.identity->test},
                                    {"test images", grid_.test_images}});
  task.needs = {set.poisoned, clean_cell};
  task.listed = false;
  return task;
}

void Planner::add_set(Set set, bool undefended_only) {
  if (set.attack != nullptr) add_poison(set);
  for (const GridModel& model : grid_.models) {
    // The undefended cell of each preset, and its oracle.
    std::vector<std::pair<std::string, std::pair<std::string, std::string>>> references;
    for (const GridDefense& defense : defenses_) {
      const bool is_undefended = is_reference(defense);
      // On the clean set there is nothing to be told.
      if ((undefended_only && !is_undefended) || (set.attack == nullptr && defense.told)) continue;
      Task task = cell(set, model, defense);
      if (!keys_.insert(task.unit.key).second) {
        throw Error(ErrorKind::usage, "the grid asks twice for " + task.unit.title, defense.where,
                    "leave one out");
      }
      if (plan_.cells.size() == max_cells) {
        throw Error(ErrorKind::usage, "the grid has more than " + std::to_string(max_cells) + " cells",
                    "grid", "split it into several files");
      }
      plan_.cells.push_back(task.unit.key);
      // Cells of one model, under another perception, are measured one after the other.
      const auto [same_model, is_first] = last_of_model_.emplace(task.unit.model, task.unit.key);
      if (!is_first) task.needs.push_back(std::exchange(same_model->second, task.unit.key));
      if (is_undefended) {
        const std::string clean_name =
            Json({set.data->where, label_of(model), task.unit.run.dump(), set.seed}).dump();
        std::string oracle_key;
        Task yardstick;
        if (set.attack == nullptr) {
          clean_[clean_name] = {task.unit.key, task.unit.model};
        } else if (const auto clean = clean_.find(clean_name); clean != clean_.end()) {
          yardstick = oracle(set, task, clean->second.first, clean->second.second);
          oracle_key = yardstick.unit.key;
        }
        references.push_back({defense.preset, {task.unit.key, oracle_key}});
        task.undefended = task.unit.key;
        task.oracle = oracle_key;
        plan_.tasks.push_back(std::move(task));
        if (!oracle_key.empty()) plan_.tasks.push_back(std::move(yardstick));
        continue;
      }
      const auto same_preset = std::find_if(references.begin(), references.end(), [&](const auto& reference) {
        return reference.first == defense.preset;
      });
      const auto& reference = same_preset == references.end() ? references.front() : *same_preset;
      task.undefended = reference.second.first;
      task.oracle = reference.second.second;
      plan_.tasks.push_back(std::move(task));
    }
  }
}

Plan Planner::operator()() {
  plan_.title = grid_.title;
  const auto has_zero = [](const std::vector<double>& rates) {
    return std::find(rates.begin(), rates.end(), 0.0) != rates.end();
  };
  const bool clean_rows = has_zero(grid_.rates);
  for (const std::int64_t seed : grid_.seeds) {
    for (std::size_t d = 0; d < grid_.data.size(); ++d) {
      Set set;
      set.data = &grid_.data[d];
      set.identity = &identities_.at(d);
      set.dataset = to_json(with_shape(resolved_dataset(*set.data), set.identity->shape));
      set.seed = seed;
      if (clean_rows || grid_.oracle || grid_.attacks.empty()) {
        add_set(set, /*undefended_only=*/!clean_rows && !grid_.attacks.empty());
      }
      for (const GridAttack& attack : grid_.attacks) {
        for (const double rate : rates_of(attack)) {
          if (rate == 0) continue;
          set.attack = &attack;
          set.rate = rate;
          set.pictured = seed == grid_.seeds.front() && rate == highest_rate(attack);
          add_set(set, /*undefended_only=*/false);
        }
      }
    }
  }
  return plan_;
}

}  // namespace

Json Unit::to_json() const {
  const auto named = std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.first == kind; });
  return {{"kind", named->second},
          {"key", key},
          {"title", title},
          {"source", source},
          {"dataset", dataset},
          {"poisoned", poisoned},
          {"attack", attack.to_json()},
          {"model", model},
          {"run", run},
          {"test_images", test_images},
          {"curve_images", curve_images},
          {"pictured", pictured},
          {"perception", perception},
          {"told", told},
          {"dataset_label", dataset_label},
          {"attack_label", attack_label},
          {"model_label", model_label},
          {"defense_label", defense_label}};
}

Unit Unit::from_json(const Json& json, const std::string& where) {
  Unit unit;
  const auto name = json_at<std::string>(json, "kind", where);
  const auto named =
      std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.second == name; });
  if (named == kinds.end())
    throw Error(ErrorKind::data, "there is no unit of the kind '" + name + "'", where);
  unit.kind = named->first;
  unit.key = json_at<std::string>(json, "key", where);
  unit.title = json_at<std::string>(json, "title", where);
  unit.source = json_at<std::string>(json, "source", where);
  unit.dataset = json_at<Json>(json, "dataset", where);
  unit.poisoned = json_at<std::string>(json, "poisoned", where);
  unit.attack = AttackSpec::from_json(json_at<Json>(json, "attack", where), where);
  unit.model = json_at<std::string>(json, "model", where);
  unit.run = json_at<Json>(json, "run", where);
  unit.test_images = json_at<std::int64_t>(json, "test_images", where);
  unit.curve_images = json_at<std::int64_t>(json, "curve_images", where);
  unit.pictured = json_at<bool>(json, "pictured", where);
  unit.perception = json_at<std::string>(json, "perception", where);
  unit.told = json_at<bool>(json, "told", where);
  unit.dataset_label = json_at<std::string>(json, "dataset_label", where);
  unit.attack_label = json_at<std::string>(json, "attack_label", where);
  unit.model_label = json_at<std::string>(json, "model_label", where);
  unit.defense_label = json_at<std::string>(json, "defense_label", where);
  return unit;
}

DatasetPtr open_clean(const Unit& unit, Split split) {
  return open_dataset(unit.source, split, dataset_options(unit.dataset, unit.source));
}

DataIdentity identify(const GridData& data) {
  const DatasetOptions options = resolved_dataset(data);
  return at_entry(data.where, [&] {
    const DatasetPtr train = open_dataset(data.name, Split::train, options);
    const DatasetPtr test = open_dataset(data.name, Split::test, with_shape(options, train->shape()));
    if (test->shape() != train->shape() || test->classes() != train->classes()) {
      throw Error(ErrorKind::usage,
                  "the test split has other classes or another image size than the training split", data.name,
                  "give an image-size; class names and their order must be the same");
    }
    return DataIdentity{content_hash(*train), content_hash(*test), train->shape()};
  });
}

Plan plan_grid(const Grid& grid, const std::vector<DataIdentity>& identities) {
  return Planner(grid, identities)();
}

Shard Shard::parse(const std::string& text) {
  const auto number = [](const std::string& digits) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size() ? value : 0;
  };
  const std::size_t slash = text.find('/');
  Shard shard{0, 0};
  if (slash != std::string::npos) shard = {number(text.substr(0, slash)), number(text.substr(slash + 1))};
  if (shard.count < 1 || shard.count > max_shards || shard.index < 1 || shard.index > shard.count) {
    throw Error(ErrorKind::usage, "'" + text + "' is no part of a grid", "--shard",
                "the second of three machines is 2/3");
  }
  return shard;
}

Plan take_shard(const Plan& plan, const Shard& shard) {
  std::set<std::string> groups;
  for (const Task& task : plan.tasks) groups.insert(task.group);
  std::map<std::string, std::int64_t> owner;
  std::int64_t next = 0;
  for (const std::string& group : groups) owner[group] = next++ % shard.count + 1;

  std::map<std::string, const Task*> by_key;
  for (const Task& task : plan.tasks) by_key[task.unit.key] = &task;
  std::set<std::string> wanted;
  std::vector<std::string> todo;
  for (const Task& task : plan.tasks) {
    if (owner[task.group] == shard.index) todo.push_back(task.unit.key);
  }
  while (!todo.empty()) {
    const std::string key = todo.back();
    todo.pop_back();
    if (!wanted.insert(key).second) continue;
    const std::vector<std::string>& needs = by_key.at(key)->needs;
    todo.insert(todo.end(), needs.begin(), needs.end());
  }

  Plan part{plan.title, {}, plan.cells};
  for (const Task& task : plan.tasks) {
    if (wanted.count(task.unit.key) == 0) continue;
    part.tasks.push_back(task);
    part.tasks.back().listed = task.listed && owner[task.group] == shard.index;
  }
  return part;
}

}  // namespace mcci
