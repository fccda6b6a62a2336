#include "mcci/report/comparison.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <string_view>
#include <utility>

namespace mcci::report {
namespace {

constexpr const char* clean_set = "none";
constexpr const char* undefended_name = "none";
constexpr const char* assumption_mark = " ‡";

// A name, and what tells it from another of that name.
struct Label {
  std::string name, preset, distinction;

  bool operator==(const Label& other) const {
    return name == other.name && preset == other.preset && distinction == other.distinction;
  }
};

Label attack_of(const Row& row) { return {row.first().attack, row.first().attack_preset, ""}; }
Label full_label(const Row& row) { return {row.first().defense, row.first().preset, row.distinction}; }

std::size_t place_of(std::vector<Label>& labels, const Label& label) {
  const auto found = std::find(labels.begin(), labels.end(), label);
  if (found != labels.end()) return static_cast<std::size_t>(found - labels.begin());
  labels.push_back(label);
  return labels.size() - 1;
}

std::vector<std::string> texts_of(const std::vector<Label>& labels) {
  std::vector<std::string> texts;
  for (const Label& label : labels) {
    const bool needs_preset = std::any_of(labels.begin(), labels.end(), [&](const Label& other) {
      return other.name == label.name && other.preset != label.preset;
    });
    std::string text = label.name;
    if (needs_preset && !label.preset.empty()) text += " " + label.preset;
    if (!label.distinction.empty()) text += ", " + label.distinction;
    texts.push_back(std::move(text));
  }
  return texts;
}

// Each defense is measured against the undefended model of its own preset, or else the first one.
std::vector<std::optional<std::size_t>> undefended_of(const std::vector<Label>& defenses) {
  std::vector<std::optional<std::size_t>> result;
  for (std::size_t defense = 0; defense < defenses.size(); ++defense) {
    const auto rank = [&](std::size_t i) {
      if (defenses[i].name != undefended_name) return 0;
      return i == defense ? 3 : defenses[i].preset == defenses[defense].preset ? 2 : 1;
    };
    std::size_t best = 0;
    for (std::size_t i = 1; i < defenses.size(); ++i) {
      if (rank(i) > rank(best)) best = i;
    }
    result.push_back(rank(best) > 0 ? std::optional<std::size_t>(best) : std::nullopt);
  }
  return result;
}

// What a row's defense is called. Options that tell a row from its namesakes are part of it, but where a
// defense also has rows that need none, the first of the namesakes stands among those.
class DefenseLabels {
 public:
  explicit DefenseLabels(const std::vector<const Row*>& rows) {
    for (const Row* row : rows) {
      const Label label = full_label(*row);
      std::vector<std::string>& distinctions = distinctions_[{label.name, label.preset}];
      if (std::find(distinctions.begin(), distinctions.end(), label.distinction) == distinctions.end()) {
        distinctions.push_back(label.distinction);
      }
    }
    for (auto& [name, distinctions] : distinctions_) {
      const auto none = std::find(distinctions.begin(), distinctions.end(), "");
      if (none == distinctions.end()) {
        distinctions.clear();
      } else {
        distinctions.erase(none);
      }
    }
  }

  Label operator()(const Row& row) const {
    Label label = full_label(row);
    const std::vector<std::string>& distinctions = distinctions_.at({label.name, label.preset});
    if (!distinctions.empty() && distinctions.front() == label.distinction) label.distinction.clear();
    return label;
  }

 private:
  // Of each name and preset: the distinctions in order of appearance, if some row has none.
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> distinctions_;
};

Comparison compare_alike(const std::vector<const Row*>& rows) {
  Comparison comparison;
  comparison.dataset = rows.front()->first().dataset;
  comparison.model = rows.front()->first().model;
  const DefenseLabels defense_of(rows);
  std::vector<Label> attacks, defenses;
  std::vector<std::optional<double>> rates;
  for (const Row* row : rows) {
    place_of(defenses, defense_of(*row));
    if (row->first().attack == clean_set) continue;
    place_of(attacks, attack_of(*row));
    if (std::find(rates.begin(), rates.end(), row->first().rate) == rates.end()) {
      rates.push_back(row->first().rate);
    }
  }
  const auto key = [](const std::optional<double>& rate) {
    return rate.value_or(std::numeric_limits<double>::max());
  };
  std::sort(rates.begin(), rates.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });

  comparison.clean.resize(defenses.size(), nullptr);
  for (const std::optional<double>& rate : rates) {
    comparison.grids.push_back({rate, std::vector<const Row*>(attacks.size() * defenses.size(), nullptr)});
  }
  for (const Row* row : rows) {
    const std::size_t defense = place_of(defenses, defense_of(*row));
    if (row->first().attack == clean_set) {
      if (comparison.clean[defense] == nullptr) comparison.clean[defense] = row;
      continue;
    }
    const auto rate = std::find(rates.begin(), rates.end(), row->first().rate);
    Comparison::Grid& grid = comparison.grids[static_cast<std::size_t>(rate - rates.begin())];
    const Row*& place = grid.rows[place_of(attacks, attack_of(*row)) * defenses.size() + defense];
    if (place == nullptr || !place->implanted()) place = row;
  }
  comparison.attacks = texts_of(attacks);
  comparison.defenses = texts_of(defenses);
  comparison.undefended = undefended_of(defenses);
  comparison.assumes.resize(defenses.size());
  for (const Row* row : rows) {
    if (!row->first().assumes.empty()) {
      comparison.assumes[place_of(defenses, defense_of(*row))] = row->first().assumes;
    }
  }
  for (std::size_t defense = 0; defense < defenses.size(); ++defense) {
    if (!comparison.assumes[defense].empty()) comparison.defenses[defense] += assumption_mark;
  }
  return comparison;
}

const Cell* of_seed(const Row* row, std::int64_t seed) {
  if (row == nullptr) return nullptr;
  const auto found = std::find_if(row->cells.begin(), row->cells.end(),
                                  [&](const Cell* cell) { return cell->seed == seed; });
  return found == row->cells.end() ? nullptr : *found;
}

std::optional<double> ratio(const std::optional<double>& value, const std::optional<double>& reference) {
  if (!value || !reference || *reference <= 0) return std::nullopt;
  return *value / *reference;
}

// Those of 0 .. count - 1 for which `holds`.
template <class Condition>
std::vector<std::size_t> numbers_where(std::size_t count, const Condition& holds) {
  std::vector<std::size_t> result;
  for (std::size_t number = 0; number < count; ++number) {
    if (holds(number)) result.push_back(number);
  }
  return result;
}

}  // namespace

std::vector<std::size_t> Comparison::attacks_in(const Grid& grid) const {
  return numbers_where(attacks.size(), [&](std::size_t attack) {
    return !numbers_where(defenses.size(), [&](std::size_t defense) {
              return at(grid, attack, defense) != nullptr;
            }).empty();
  });
}

std::vector<std::size_t> Comparison::defenses_in(const Grid& grid) const {
  return numbers_where(defenses.size(), [&](std::size_t defense) {
    return !numbers_where(attacks.size(), [&](std::size_t attack) {
              return at(grid, attack, defense) != nullptr;
            }).empty();
  });
}

Measure Comparison::over_attacks(const Grid& grid, std::size_t defense, const FigureOf& figure) const {
  Measure result;
  for (std::size_t attack = 0; attack < attacks.size(); ++attack) {
    const Row* row = at(grid, attack, defense);
    result.values.push_back(row != nullptr && row->implanted() ? row->measure(figure).mean() : std::nullopt);
  }
  return result;
}

std::size_t Comparison::series(std::size_t defense) const {
  std::size_t first_undefended = 0;
  while (first_undefended < defenses.size() && undefended[first_undefended] != first_undefended) {
    ++first_undefended;
  }
  if (defense == first_undefended) return 0;
  return defense < first_undefended ? defense + 1 : defense;
}

std::string assumption_note(const Comparison& comparison) {
  std::string list;
  for (std::size_t defense = 0; defense < comparison.defenses.size(); ++defense) {
    if (comparison.assumes[defense].empty()) continue;
    const std::string& marked = comparison.defenses[defense];
    list += (list.empty() ? "" : "; ") +
            marked.substr(0, marked.size() - std::string_view(assumption_mark).size()) + ": " +
            comparison.assumes[defense];
  }
  return list.empty() ? "" : "‡ given more than the training set: " + list;
}

std::vector<Comparison> compare(const std::vector<Row>& rows) {
  std::vector<std::vector<const Row*>> alike;
  for (const Row& row : rows) {
    const auto found = std::find_if(alike.begin(), alike.end(), [&](const std::vector<const Row*>& group) {
      const Cell& first = group.front()->first();
      return first.dataset == row.first().dataset && first.model == row.first().model;
    });
    if (found == alike.end()) {
      alike.push_back({&row});
    } else {
      found->push_back(&row);
    }
  }
  std::vector<Comparison> result;
  for (const auto& group : alike) result.push_back(compare_alike(group));
  return result;
}

std::vector<Cost> costs(const Comparison& comparison) {
  std::vector<Cost> result;
  for (std::size_t defense = 0; defense < comparison.defenses.size(); ++defense) {
    if (!comparison.undefended[defense]) continue;
    const std::size_t reference = *comparison.undefended[defense];
    Cost cost{defense, {}, {}, {}, {}};
    Measure seconds, memory;
    const auto add = [&](const Row* row, const Row* against) {
      if (row == nullptr) return;
      for (const Cell* cell : row->cells) {
        seconds.values.push_back(cell->seconds);
        memory.values.push_back(cell->peak_memory_mib);
        if (const Cell* other = of_seed(against, cell->seed)) {
          cost.time.values.push_back(ratio(cell->seconds, other->seconds));
          cost.memory.values.push_back(ratio(cell->peak_memory_mib, other->peak_memory_mib));
        }
      }
    };
    add(comparison.clean[defense], comparison.clean[reference]);
    for (const Comparison::Grid& grid : comparison.grids) {
      for (std::size_t attack = 0; attack < comparison.attacks.size(); ++attack) {
        add(comparison.at(grid, attack, defense), comparison.at(grid, attack, reference));
      }
    }
    cost.seconds = seconds.mean();
    cost.peak_memory_mib = memory.mean();
    if (cost.time.defined() + cost.memory.defined() > 0) result.push_back(std::move(cost));
  }
  return result;
}

}  // namespace mcci::report
