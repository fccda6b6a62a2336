#include "mcci/suite/grid.hpp"

#include <algorithm>
#include <cmath>

#include <toml++/toml.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"

namespace mcci {
namespace {

constexpr std::uint64_t max_file_bytes = 1 << 20;
constexpr std::size_t max_entries = 1000;
constexpr std::int64_t max_images = 1'000'000'000;
constexpr std::int64_t max_seed = std::int64_t{1} << 53;
constexpr std::int64_t max_width = 2048;
constexpr std::int64_t max_depth = 64;

// One table of the file: every key that is asked for is ticked off, and finish() refuses the others.
class Table {
 public:
  Table(const toml::table& table, std::string file) : table_(table), file_(std::move(file)) {}

  std::string where(const toml::node& node) const {
    return file_ + ":" + std::to_string(node.source().begin.line);
  }
  std::string where() const { return where(table_); }

  const toml::node* find(const std::string& key) {
    known_.push_back(key);
    return table_.get(key);
  }

  std::string text(const std::string& key, const std::string& fallback) {
    const toml::node* node = find(key);
    if (node == nullptr) return fallback;
    if (!node->is_string() || node->as_string()->get().empty()) fail(*node, key, "a text");
    return node->as_string()->get();
  }

  std::int64_t integer(const std::string& key, std::int64_t fallback, std::int64_t high) {
    const toml::node* node = find(key);
    return node == nullptr ? fallback : integer_of(*node, key, high);
  }

  bool flag(const std::string& key, bool fallback) {
    const toml::node* node = find(key);
    if (node == nullptr) return fallback;
    if (!node->is_boolean()) fail(*node, key, "true or false");
    return node->as_boolean()->get();
  }

  // Calls visit(node) for each element of the array `key`; false if it is not there.
  template <class Visit>
  bool list(const std::string& key, const Visit& visit) {
    const toml::node* node = find(key);
    if (node == nullptr) return false;
    const toml::array* array = node->as_array();
    if (array == nullptr || array->empty() || array->size() > max_entries) {
      fail(*node, key, "a list of 1 to " + std::to_string(max_entries) + " entries");
    }
    for (const toml::node& element : *array) visit(element);
    return true;
  }

  void rates(const std::string& key, std::vector<double>& rates) {
    std::vector<double> given;
    const bool there = list(key, [&](const toml::node& element) {
      const double rate = element.value<double>().value_or(std::nan(""));
      if (!(rate >= 0 && rate <= 1)) fail(element, key, "shares between 0 and 1");
      if (std::find(given.begin(), given.end(), rate) != given.end()) fail(element, key, "all different");
      given.push_back(rate);
    });
    if (there) rates = given;
  }

  void seeds(const std::string& key, std::vector<std::int64_t>& seeds) {
    std::vector<std::int64_t> given;
    const bool there = list(key, [&](const toml::node& element) {
      const std::int64_t seed = integer_of(element, key, max_seed);
      if (std::find(given.begin(), given.end(), seed) != given.end()) fail(element, key, "all different");
      given.push_back(seed);
    });
    if (there) seeds = given;
  }

  // A table of options: scalars and lists of texts, which the option set they are for then checks.
  Json options(const std::string& key) {
    Json options = Json::object();
    const toml::node* node = find(key);
    if (node == nullptr) return options;
    if (!node->is_table()) fail(*node, key, "a table of options");
    for (const auto& [name, value] : *node->as_table()) options[std::string(name.str())] = option(value, key);
    return options;
  }

  void finish() const {
    for (const auto& [name, node] : table_) {
      const std::string key(name.str());
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      throw Error(ErrorKind::usage, "there is no key '" + key + "' here",
                  file_ + ":" + std::to_string(name.source().begin.line), "use " + candidates(key, known_));
    }
  }

  [[noreturn]] void fail(const toml::node& node, const std::string& key, const std::string& wanted) const {
    throw Error(ErrorKind::usage, "the key '" + key + "' must be " + wanted, where(node));
  }

 private:
  std::int64_t integer_of(const toml::node& node, const std::string& key, std::int64_t high) const {
    const std::int64_t value = node.is_integer() ? node.as_integer()->get() : -1;
    if (value < 0 || value > high) fail(node, key, "an integer from 0 to " + std::to_string(high));
    return value;
  }

  Json option(const toml::node& node, const std::string& key) const {
    if (const auto* text = node.as_string()) return text->get();
    if (const auto* integer = node.as_integer()) return integer->get();
    if (const auto* number = node.as_floating_point()) return number->get();
    if (const auto* truth = node.as_boolean()) return truth->get();
    const toml::array* array = node.as_array();
    if (array == nullptr) fail(node, key, "a table of numbers, texts, flags and lists of texts");
    Json items = Json::array();
    for (const toml::node& element : *array) {
      if (!element.is_string()) fail(element, key, "a table of numbers, texts, flags and lists of texts");
      items.push_back(element.as_string()->get());
    }
    return items;
  }

  const toml::table& table_;
  std::string file_;
  std::vector<std::string> known_;
};

// An entry is a name, or a table that says more; read(table) gets the latter.
template <class Entry, class Read>
Entry entry_of(const toml::node& node, const std::string& file, const std::string& key,
               std::string Entry::*name, Entry entry, const Read& read) {
  entry.where = file + ":" + std::to_string(node.source().begin.line);
  if (node.is_string() && !node.as_string()->get().empty()) {
    entry.*name = node.as_string()->get();
    return entry;
  }
  if (!node.is_table()) {
    throw Error(ErrorKind::usage, "an entry of '" + key + "' must be a name or a table", entry.where);
  }
  Table table(*node.as_table(), file);
  read(table, entry);
  table.finish();
  return entry;
}

template <class Entry>
void read_names(Table& table, Entry& entry) {
  entry.name = table.text("name", "");
  if (entry.name.empty()) throw Error(ErrorKind::usage, "the key 'name' is missing", table.where());
  entry.label = table.text("label", "");
  entry.options = table.options("options");
}

void read_attack(Table& table, GridAttack& attack) {
  read_names(table, attack);
  attack.preset = table.text("preset", attack.preset);
  table.rates("rates", attack.rates);
  const std::string counted = table.text("rate-of", to_string(attack.rate_of));
  if (counted == to_string(RateOf::target_class)) {
    attack.rate_of = RateOf::target_class;
  } else if (counted != to_string(RateOf::whole_set)) {
    throw Error(ErrorKind::usage, "the key 'rate-of' cannot be '" + counted + "'", table.where(),
                "use whole_set or target_class");
  }
}

Grid grid_of(const toml::table& root, const std::filesystem::path& path) {
  const std::string file = path.string();
  Table table(root, file);
  Grid grid;
  grid.title = table.text("title", path.stem().string());
  grid.preset = table.text("preset", grid.preset);
  grid.oracle = table.flag("oracle", grid.oracle);
  grid.test_images = table.integer("test-images", grid.test_images, max_images);
  grid.curve_images = table.integer("curve-images", grid.curve_images, max_images);
  table.rates("rates", grid.rates);
  table.seeds("seeds", grid.seeds);
  grid.train = table.options("train");
  if (const toml::node* node = root.get("train")) grid.train_where = table.where(*node);
  table.list("data", [&](const toml::node& node) {
    grid.data.push_back(entry_of(node, file, "data", &GridData::name, GridData{}, read_names<GridData>));
  });
  std::vector<GridModel> models;
  table.list("models", [&](const toml::node& node) {
    models.push_back(
        entry_of(node, file, "models", &GridModel::backbone, GridModel{}, [](Table& entry, GridModel& model) {
          model.backbone = entry.text("backbone", model.backbone);
          model.label = entry.text("label", model.label);
          model.width = entry.integer("width", model.width, max_width);
          model.depth = entry.integer("depth", model.depth, max_depth);
          model.weights = entry.text("weights", model.weights);
          model.options = entry.options("options");
        }));
  });
  if (!models.empty()) grid.models = models;
  table.list("attacks", [&](const toml::node& node) {
    grid.attacks.push_back(entry_of(node, file, "attacks", &GridAttack::name, GridAttack{}, read_attack));
  });
  table.list("defenses", [&](const toml::node& node) {
    GridDefense defense;
    defense.preset = grid.preset;
    grid.defenses.push_back(
        entry_of(node, file, "defenses", &GridDefense::name, defense, [](Table& entry, GridDefense& read) {
          read_names(entry, read);
          read.preset = entry.text("preset", read.preset);
          read.perception = entry.text("perception", read.perception);
          read.told = entry.flag("told", read.told);
        }));
  });
  table.finish();
  if (grid.data.empty()) {
    throw Error(ErrorKind::usage, "the key 'data' is missing", file,
                "name data sets: data = [\"fashion-mnist\"]");
  }
  return grid;
}

}  // namespace

Grid read_grid(const std::filesystem::path& path) {
  const std::string text = read_file(path, max_file_bytes);
  try {
    return grid_of(toml::parse(text, path.string()), path);
  } catch (const toml::parse_error& error) {
    throw Error(ErrorKind::usage, std::string(error.description()),
                path.string() + ":" + std::to_string(error.source().begin.line));
  }
}

}  // namespace mcci
