#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "mcci/report/summary.hpp"

// Rows seen as attack x defense at each poison rate, and what follows from it: averages over attacks and
// costs relative to the undefended model.
namespace mcci::report {

using FigureOf = std::function<std::optional<double>(const Cell&)>;

// One data set and one network. Names are in order of first appearance; a preset is part of a name where two
// presets of one attack or defense were run, options where two rows would otherwise share a place, and a
// defense that was given more than the training set is marked.
struct Comparison {
  // At one rate, [attacks x defenses] row by row; null where nothing was run. Where an attack implanted for
  // some seeds only, it is the row of those.
  struct Grid {
    std::optional<double> rate;
    std::vector<const Row*> rows;
  };

  std::string dataset, model;
  std::vector<std::string> attacks, defenses;
  std::vector<std::string> assumes;  // what each defense was given; empty: the training set alone
  std::vector<std::optional<std::size_t>> undefended;  // what each defense is measured against, if it was run
  std::vector<const Row*> clean;  // [defenses], of the clean set; null where none was run
  std::vector<Grid> grids;        // by rate; without one last

  const Row* at(const Grid& grid, std::size_t attack, std::size_t defense) const {
    return grid.rows[attack * defenses.size() + defense];
  }
  // Those that have a row in the grid, ascending: a table leaves the others out.
  std::vector<std::size_t> attacks_in(const Grid& grid) const;
  std::vector<std::size_t> defenses_in(const Grid& grid) const;
  // A value for each attack: the mean over its seeds, empty where it did not implant or was not run.
  Measure over_attacks(const Grid& grid, std::size_t defense, const FigureOf& figure) const;
  // The colour and mark of a defense in charts: 0 is the first undefended model's.
  std::size_t series(std::size_t defense) const;
};

// What the marked defenses were given: "‡ given more than the training set: a: 100 clean images"; empty if
// none is marked.
std::string assumption_note(const Comparison& comparison);

// In order of first appearance. Rows of attack `none` are the clean set's.
std::vector<Comparison> compare(const std::vector<Row>& rows);

// What a defense costs, as multiples of the undefended model of the same attack, rate and seed: a value for
// each pair of trainings.
struct Cost {
  std::size_t defense = 0;
  Measure time, memory;                            // ratios
  std::optional<double> seconds, peak_memory_mib;  // means over the defense's trainings
};
// Of each defense that was measured against an undefended model, itself included.
std::vector<Cost> costs(const Comparison& comparison);

}  // namespace mcci::report
