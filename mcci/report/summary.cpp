#include "mcci/report/summary.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "mcci/report/format.hpp"

namespace mcci::report {
namespace {

bool tells_runs_apart(const std::string& option) {
  return option == "seed" || option == "data" || option == "out" || option == "resume";
}

// Sorted, since the order in which options were written is no difference.
std::string config_of(const Cell& cell) {
  std::map<std::string, Json> options;
  for (const auto& item : cell.config.items()) {
    if (!tells_runs_apart(item.key())) options.emplace(item.key(), item.value());
  }
  return json_text(Json(options));
}

// As JSON, which keeps names with separators in them apart.
std::string names_of(const Cell& cell) {
  const Json rate = cell.rate ? Json(*cell.rate) : Json();
  return json_text(Json::array(
      {cell.dataset, cell.attack, cell.attack_preset, cell.model, cell.defense, cell.preset, rate}));
}

void distinguish(std::vector<Row>& rows) {
  std::map<std::string, std::vector<std::size_t>> namesakes;
  for (std::size_t i = 0; i < rows.size(); ++i) namesakes[names_of(rows[i].first())].push_back(i);
  for (const auto& [names, places] : namesakes) {
    std::vector<Row> alike;
    for (const std::size_t place : places) alike.push_back(rows[place]);
    const Options options = compare_options(alike);
    for (std::size_t i = 0; i < places.size(); ++i) {
      std::string& distinction = rows[places[i]].distinction;
      for (const auto& [name, value] : options.own[i]) {
        distinction += (distinction.empty() ? "" : ", ") + name + " " + value;
      }
    }
  }
}

}  // namespace

bool asr_fails(const Cell& cell) { return cell.asr && *cell.asr > asr_limit; }

bool pa_fails(const Cell& cell) { return cell.pa && cell.ca && *cell.ca - *cell.pa > pa_gap_limit; }

std::int64_t Measure::defined() const {
  return std::count_if(values.begin(), values.end(), [](const auto& value) { return value.has_value(); });
}

std::optional<double> Measure::mean() const {
  if (defined() == 0) return std::nullopt;
  double sum = 0;
  for (const std::optional<double>& value : values) sum += value.value_or(0);
  return sum / static_cast<double>(defined());
}

std::optional<double> Measure::deviation() const {
  if (defined() < 2) return std::nullopt;
  const double centre = *mean();
  double squares = 0;
  for (const std::optional<double>& value : values) {
    if (value) squares += (*value - centre) * (*value - centre);
  }
  return std::sqrt(squares / static_cast<double>(defined() - 1));
}

Measure Row::measure(const std::function<std::optional<double>(const Cell&)>& figure) const {
  Measure result;
  for (const Cell* cell : cells) result.values.push_back(figure(*cell));
  return result;
}

std::string Row::seeds() const {
  std::string result;
  for (const Cell* cell : cells) result += (result.empty() ? "" : ", ") + std::to_string(cell->seed);
  return result;
}

bool Row::implanted() const {
  return std::none_of(cells.begin(), cells.end(), [](const Cell* cell) { return cell->implanted == false; });
}

std::vector<Row> summarise(const std::vector<Cell>& cells) {
  std::vector<Row> rows;
  std::map<std::string, std::size_t> row_of;
  for (const Cell& cell : cells) {
    const auto [place, is_new] = row_of.emplace(names_of(cell) + config_of(cell), rows.size());
    if (is_new) rows.emplace_back();
    rows[place->second].cells.push_back(&cell);
  }
  for (Row& row : rows) {
    std::stable_sort(row.cells.begin(), row.cells.end(),
                     [](const Cell* a, const Cell* b) { return a->seed < b->seed; });
  }
  distinguish(rows);
  return rows;
}

bool varies(const std::vector<Row>& rows, std::string Cell::*name) {
  return std::any_of(rows.begin(), rows.end(),
                     [&](const Row& row) { return row.first().*name != rows.front().first().*name; });
}

bool any(const std::vector<Row>& rows, std::optional<double> Cell::*figure) {
  return std::any_of(rows.begin(), rows.end(),
                     [&](const Row& row) { return row.measure(figure).defined() > 0; });
}

Options compare_options(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const Row& row : rows) {
    for (const auto& item : row.first().config.items()) {
      const bool known = std::find(names.begin(), names.end(), item.key()) != names.end();
      if (!known && !tells_runs_apart(item.key())) names.push_back(item.key());
    }
  }
  Options options;
  options.own.resize(rows.size());
  const auto value_in = [](const Row& row, const std::string& name) {
    return row.first().config.value(name, Json());
  };
  for (const std::string& name : names) {
    const Json expected = value_in(rows.front(), name);
    const bool agree = std::all_of(rows.begin(), rows.end(),
                                   [&](const Row& row) { return value_in(row, name) == expected; });
    if (agree) {
      options.common.emplace_back(name, json_text(expected));
      continue;
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      options.own[i].emplace_back(name, json_text(value_in(rows[i], name)));
    }
  }
  return options;
}

}  // namespace mcci::report
