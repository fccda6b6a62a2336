#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mcci/report/result.hpp"

// The one place where cells become table rows; every renderer of tables uses it.
namespace mcci::report {

// A model fails where its ASR exceeds `asr_limit` percent, or its PA lies more than `pa_gap_limit` points
// below its CA. Tables mark failures and state these limits; they never leave such a row out.
constexpr double asr_limit = 10.0;
constexpr double pa_gap_limit = 15.0;
bool asr_fails(const Cell& cell);
bool pa_fails(const Cell& cell);

// One figure of a row: a value for each cell, in the row's order of cells.
struct Measure {
  std::vector<std::optional<double>> values;

  std::int64_t defined() const;             // how many values there are
  std::optional<double> mean() const;       // over the defined values; empty if there are none
  std::optional<double> deviation() const;  // sample standard deviation (n-1); empty below two values
  // Half the width of the 95 % confidence interval of the mean (Student's t, n-1 degrees of freedom).
  std::optional<double> interval() const;  // empty below two values
};

// The 0.975 quantile of Student's t distribution.
double student_t(std::int64_t degrees_of_freedom);

// Cells that differ only by their seed, ordered by it, and agree in whether the attack implanted. `cells` is
// never empty.
struct Row {
  std::vector<const Cell*> cells;
  // What tells this row from another of the same names: the options that differ, as "option value".
  std::string distinction;

  const Cell& first() const;  // with a model, if any has one
  // `figure` may be a member, as in measure(&Cell::ca).
  Measure measure(const std::function<std::optional<double>(const Cell&)>& figure) const;
  std::string seeds() const;  // "0, 1, 2"
  // False if the undefended models did not learn the trigger: no defense can then claim merit, and no average
  // over attacks counts the row.
  bool implanted() const;
  std::size_t errors() const;  // how many cells have no model
};

// Rows in order of first appearance; they point into `cells`. Two cells belong together when their names and
// rates are equal, their `config` is, apart from the options `seed`, `data`, `out` and `resume`, and the
// attack implanted (or is not known not to have) in both or in neither. A cell without a model, which says
// nothing of its config, belongs to the first row of its names. Of two cells of one `id` the first counts
// that has a model.
std::vector<Row> summarise(const std::vector<Cell>& cells);

// More rows than one takes in at a glance: summaries come first, and the rows are folded.
bool is_large(const std::vector<Row>& rows);

// Whether not all rows have the same value: a name that all share is said once, above the table.
bool varies(const std::vector<Row>& rows, std::string Cell::*name);
// Whether any row has a value.
bool any(const std::vector<Row>& rows, std::optional<double> Cell::*figure);

// Options of the rows' configs: those on which all rows agree, and for each row the others. `seed`, `data`,
// `out` and `resume` are left out.
struct Options {
  using List = std::vector<std::pair<std::string, std::string>>;  // name, value
  List common;
  std::vector<List> own;
};
Options compare_options(const std::vector<Row>& rows);

}  // namespace mcci::report
