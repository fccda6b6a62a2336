#pragma once

#include <functional>
#include <string>
#include <vector>

#include "mcci/report/summary.hpp"

// The pieces of HTML that the sections of the page share. Arguments named text are escaped here; all others
// are HTML already.
namespace mcci::report {

std::string plural(std::size_t n, const std::string& noun);  // "1 run", "12 runs"

// Both are empty if `content` is.
std::string section(const std::string& heading, const std::string& content);
std::string folded(const std::string& heading, const std::string& content);

// A name and, smaller, what there is to say of it.
std::string with_detail(const std::string& name_text, const std::string& detail_text);
// A row's names in one line; data set and network only if they vary over `rows`.
std::string row_title(const std::vector<Row>& rows, const Row& row);

// Its children are alternatives, of which page.js shows one at a time and offers the others; paper and
// browsers without scripts get all. Each is a choice(); one alone is shown as it is.
std::string choices(const std::string& name_text, const std::string& content);
std::string choice(const std::string& name_text, const std::string& content, bool shown_first = false);

struct Column {
  std::string head;
  std::string style;                            // classes of the head's cell
  std::function<std::string(const Row&)> cell;  // the whole <td> or <th>
};

// `style` holds the table's classes: "sortable" makes heads into buttons, "cards" turns rows into blocks on
// narrow screens. Rows that follow one of the same attack are marked as such if `by_attack`.
std::string table(const std::string& style, const std::string& caption, const std::vector<Column>& columns,
                  const std::vector<Row>& rows, bool by_attack = false);
// The same around a body of <tr> elements; the columns' `cell` is not asked.
std::string table_around(const std::string& style, const std::string& caption,
                         const std::vector<Column>& columns, const std::string& body);

// A figure of merit: its mean over the seeds, deviation and `detail`, marked where cells of the row fail by
// it.
struct Failure {
  std::size_t cells = 0;  // how many of the row's
  const char* sign = "";
  const char* reason = "";
};
Failure asr_failure(const Row& row);
Failure pa_failure(const Row& row);
std::string figure_cell(const std::string& label, const Measure& measure, int decimals,
                        const std::string& detail = "", const Failure& failure = {});

// A cell that names its row; `sort_text` is what the table sorts by.
std::string heading_cell(const std::string& content, const std::string& sort_text);
std::string name_cell(const std::string& content, const std::string& sort_text,
                      const std::string& style = "");

}  // namespace mcci::report
