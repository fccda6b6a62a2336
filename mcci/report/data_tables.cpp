#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <vector>

#include "mcci/report/comparison.hpp"
#include "mcci/report/format.hpp"
#include "mcci/report/report.hpp"
#include "mcci/report/result.hpp"
#include "mcci/report/summary.hpp"

// Tables that other programs read.
namespace mcci {
namespace {

using report::Cell;
using report::Comparison;
using report::Count;
using report::Measure;
using report::Row;

// ----------------------------------------------------------------------------------------------------- CSV

// The shortest text that reads back as the same number.
std::string field(const std::optional<double>& value) {
  if (!value) return "";
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.begin(), buffer.end(), *value);
  return {buffer.begin(), end.ptr};
}

std::string field(const std::optional<bool>& flag) { return !flag ? "" : *flag ? "true" : "false"; }

class CsvLine {
 public:
  void add(const std::string& text) {
    line_ += (is_first_ ? "" : ",") + report::csv(text);
    is_first_ = false;
  }
  void add(const std::optional<Count>& count) {
    add(count ? std::to_string(count->hits) : "");
    add(count ? std::to_string(count->total) : "");
  }
  std::string text() const { return line_ + "\r\n"; }

 private:
  std::string line_;
  bool is_first_ = true;
};

std::string csv_line(const Cell& cell) {
  CsvLine line;
  line.add(cell.dataset);
  line.add(cell.attack);
  line.add(cell.attack_preset);
  line.add(field(cell.rate));
  line.add(field(cell.rate_of_target_class));
  line.add(cell.model);
  line.add(cell.defense);
  line.add(cell.preset);
  line.add(cell.assumes);
  line.add(std::to_string(cell.seed));
  for (const auto figure : {&Cell::ca, &Cell::asr, &Cell::pa, &Cell::pa_over_oracle, &Cell::oracle_asr,
                            &Cell::oracle_pa, &Cell::der, &Cell::auroc}) {
    line.add(field(cell.*figure));
  }
  const report::Detected detected = cell.detection.value_or(report::Detected());
  for (const auto figure :
       {&report::Detected::flagged, &report::Detected::precision, &report::Detected::recall,
        &report::Detected::false_positive_rate, &report::Detected::threshold}) {
    line.add(field(detected.*figure));
  }
  line.add(field(cell.implanted));
  line.add(field(cell.seconds));
  line.add(field(cell.peak_memory_mib));
  for (const auto count : {&Cell::ca_count, &Cell::asr_count, &Cell::pa_count, &Cell::oracle_asr_count,
                           &Cell::oracle_pa_count}) {
    line.add(cell.*count);
  }
  line.add(cell.error);
  line.add(cell.id);
  return line.text();
}

constexpr const char* csv_head =
    "dataset,attack,attack_preset,rate,rate_of_target_class,model,defense,preset,assumes,seed,ca,asr,pa,"
    "pa_over_oracle,oracle_asr,oracle_pa,der,auroc,flagged,precision,recall,false_positive_rate,threshold,"
    "implanted,seconds,peak_memory_mib,ca_hits,ca_total,asr_hits,asr_total,pa_hits,pa_total,oracle_asr_hits,"
    "oracle_asr_total,oracle_pa_hits,oracle_pa_total,error,id\r\n";

// --------------------------------------------------------------------------------------------------- LaTeX

constexpr std::array<std::optional<double> Cell::*, 3> latex_figures = {&Cell::ca, &Cell::asr, &Cell::pa};

std::string latex_figure(const Measure& measure) {
  const std::optional<double> mean = measure.mean(), deviation = measure.deviation();
  if (!mean) return "--";
  return "$" + report::fixed(*mean, 1) + (deviation ? " \\pm " + report::fixed(*deviation, 1) : "") + "$";
}

// Three fields for each defense.
template <class FieldsOf>
std::string latex_line(const std::string& name, std::size_t defenses, const FieldsOf& fields_of) {
  std::string line = "  " + name;
  for (std::size_t defense = 0; defense < defenses; ++defense) line += fields_of(defense);
  return line + " \\\\\n";
}

std::string latex_fields(const Row* row) {
  if (row == nullptr) return " & & &";
  if (row->errors() == row->cells.size()) return " & \\multicolumn{3}{c}{failed}";
  std::string fields;
  for (const auto figure : latex_figures) {
    fields += " & " + latex_figure(row->measure(figure)) + (row->implanted() ? "" : "$^\\dagger$");
  }
  return fields;
}

std::string latex_grid(const Comparison& comparison, const Comparison::Grid& grid) {
  const std::size_t defenses = comparison.defenses.size();
  std::string body;
  if (comparison.grids.size() > 1) {
    body += "  \\multicolumn{" + std::to_string(1 + 3 * defenses) + "}{l}{\\emph{" +
            (grid.rate ? report::latex(report::share_text(grid.rate)) + " poisoned" : "no rate given") +
            "}} \\\\\n";
  }
  const std::vector<std::size_t> attacks = comparison.attacks_in(grid);
  for (const std::size_t attack : attacks) {
    body += latex_line(report::latex(comparison.attacks[attack]), defenses, [&](std::size_t defense) {
      return latex_fields(comparison.at(grid, attack, defense));
    });
  }
  if (attacks.size() < 2) return body;
  return body + latex_line("mean", defenses, [&](std::size_t defense) {
           std::string fields;
           for (const auto figure : latex_figures) {
             fields += " & " + latex_figure(comparison.over_attacks(grid, defense, figure));
           }
           return fields;
         });
}

std::string latex_table(const Comparison& comparison) {
  const std::size_t defenses = comparison.defenses.size();
  std::string columns = "l", names, rules, figures;
  for (std::size_t defense = 0; defense < defenses; ++defense) {
    const std::size_t first = 2 + 3 * defense;
    columns += "rrr";
    names += " & \\multicolumn{3}{c}{" + report::latex(comparison.defenses[defense]) + "}";
    rules += " \\cmidrule(lr){" + std::to_string(first) + "-" + std::to_string(first + 2) + "}";
    figures += " & CA & ASR & PA";
  }
  std::string body;
  for (const Comparison::Grid& grid : comparison.grids)
    body += "  \\midrule\n" + latex_grid(comparison, grid);
  const bool has_clean = std::any_of(comparison.clean.begin(), comparison.clean.end(),
                                     [](const Row* row) { return row != nullptr; });
  if (has_clean) {
    body += "  \\midrule\n" + latex_line("clean set", defenses, [&](std::size_t defense) {
              return latex_fields(comparison.clean[defense]);
            });
  }
  const std::string note = report::assumption_note(comparison);
  std::string rate;
  if (comparison.grids.size() == 1 && comparison.grids.front().rate) {
    rate = ", " + report::latex(report::share_text(comparison.grids.front().rate)) + " poisoned";
  }
  return "\\begin{table}\n\\centering\n\\caption{" + report::latex(comparison.dataset) + ", " +
         report::latex(comparison.model) + rate +
         ": CA, ASR and PA in percent, mean $\\pm$ standard deviation over seeds (last line: over attacks). "
         "$^\\dagger$: did not implant, left out of the mean over attacks." +
         (note.empty() ? "" : " " + report::latex(note) + ".") + "}\n\\begin{tabular}{" + columns +
         "}\n  \\toprule\n  " + names + " \\\\\n " + rules + "\n  attack" + figures + " \\\\\n" + body +
         "  \\bottomrule\n\\end{tabular}\n\\end{table}\n";
}

}  // namespace

std::string render_csv(const std::vector<Json>& results) {
  std::string text = csv_head;
  const std::vector<Cell> cells = report::parse_cells(results);
  for (const Row& row : report::summarise(cells)) {
    for (const Cell* cell : row.cells) text += csv_line(*cell);
  }
  return text;
}

std::string render_latex_table(const std::vector<Json>& results) {
  const std::vector<Cell> cells = report::parse_cells(results);
  const std::vector<Row> rows = report::summarise(cells);
  std::string text = "% Needs \\usepackage{booktabs}.\n";
  for (const Comparison& comparison : report::compare(rows)) text += latex_table(comparison);
  return text;
}

}  // namespace mcci
