#include "mcci/report/summary.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

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

bool did_not_implant(const Cell& cell) { return cell.implanted == false; }

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

std::optional<double> Measure::interval() const {
  const std::optional<double> spread = deviation();
  if (!spread) return std::nullopt;
  return student_t(defined() - 1) * *spread / std::sqrt(static_cast<double>(defined()));
}

double student_t(std::int64_t degrees_of_freedom) {
  constexpr std::array<double, 30> quantiles = {
      12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
      2.2010,  2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
      2.0796,  2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423};
  const auto n = static_cast<std::size_t>(std::max<std::int64_t>(degrees_of_freedom, 1));
  if (n <= quantiles.size()) return quantiles[n - 1];
  // The first terms of the expansion about the normal quantile.
  const double z = 1.959964, df = static_cast<double>(n);
  return z + (z * z * z + z) / (4 * df) + (5 * std::pow(z, 5) + 16 * z * z * z + 3 * z) / (96 * df * df);
}

const Cell& Row::first() const {
  const auto found =
      std::find_if(cells.begin(), cells.end(), [](const Cell* cell) { return cell->error.empty(); });
  return found == cells.end() ? *cells.front() : **found;
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

bool Row::implanted() const { return !did_not_implant(first()); }

std::size_t Row::errors() const {
  return static_cast<std::size_t>(
      std::count_if(cells.begin(), cells.end(), [](const Cell* cell) { return !cell->error.empty(); }));
}

std::vector<Row> summarise(const std::vector<Cell>& cells) {
  std::vector<Row> rows;
  std::map<std::string, std::size_t> row_of;
  std::set<std::string> ids;
  std::vector<const Cell*> without_model;
  const auto is_known = [&](const Cell& cell) { return !cell.id.empty() && !ids.insert(cell.id).second; };
  for (const Cell& cell : cells) {
    if (!cell.error.empty()) {
      without_model.push_back(&cell);
      continue;
    }
    if (is_known(cell)) continue;
    const std::string key = names_of(cell) + config_of(cell) + (did_not_implant(cell) ? "-" : "+");
    const auto [place, is_new] = row_of.emplace(key, rows.size());
    if (is_new) rows.emplace_back();
    rows[place->second].cells.push_back(&cell);
  }
  for (const Cell* cell : without_model) {
    if (is_known(*cell)) continue;
    const std::string names = names_of(*cell), config = config_of(*cell);
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& candidate) {
      return names_of(candidate.first()) == names &&
             (cell->config.empty() || config_of(candidate.first()) == config);
    });
    if (row == rows.end()) {
      rows.push_back({{cell}, ""});
    } else {
      row->cells.push_back(cell);
    }
  }
  // The cells stand in one array: the order of addresses is that of appearance.
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return *std::min_element(a.cells.begin(), a.cells.end()) <
           *std::min_element(b.cells.begin(), b.cells.end());
  });
  distinguish(rows);
  for (Row& row : rows) {
    std::stable_sort(row.cells.begin(), row.cells.end(),
                     [](const Cell* a, const Cell* b) { return a->seed < b->seed; });
  }
  return rows;
}

bool is_large(const std::vector<Row>& rows) { return rows.size() > 24; }

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
