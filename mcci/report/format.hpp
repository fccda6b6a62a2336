#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mcci/report/summary.hpp"

// Numbers as text, the same in every renderer and independent of the locale, and text made safe for its
// medium. All text is UTF-8.
namespace mcci::report {

// What stands for a figure that is undefined.
constexpr const char* undefined_text = "–";

std::string fixed(double value, int decimals);  // never "-0.0"
std::string fixed(const std::optional<double>& value, int decimals);
std::string with_separators(std::int64_t value);              // "12,345"
std::string count_text(const std::optional<Count>& count);    // "8,412/10,000"; empty if undefined
std::string share_text(const std::optional<double>& share);   // of [0,1]: "0.5 %", with a no-break space
std::string mean_text(const Measure& measure, int decimals);  // "84.1 ± 0.3", "84.1"
// The values behind a mean, "84.1, 83.8, 84.4", or for a single value its count; empty if there is neither.
std::string detail_text(const Row& row, std::optional<double> Cell::*figure,
                        std::optional<Count> Cell::*count);
// What one may trust of a mean, "95 %: ± 0.7"; empty below two values.
std::string interval_text(const Measure& measure, int decimals);
std::string seconds_text(const std::optional<double>& seconds);  // "3 min 05 s"
std::string memory_text(const std::optional<double>& mib);       // "812 MiB", "1.3 GiB"

// What stands, smaller, behind the name of an attack or a defense; empty if there is nothing to say.
std::string attack_detail(const Row& row);   // "all-to-one, 10 % of the set, did not implant"
std::string defense_detail(const Row& row);  // the preset, the row's distinction and what it was given
// Which cells have no model, "failed: seeds 1, 3"; empty if all have.
std::string error_detail(const Row& row);
// The images behind a figure, "10,000", or "9,000 to 10,000" where cells differ; empty if no cell says.
std::string total_text(const std::vector<Row>& rows, std::optional<Count> Cell::*count);

// A string as it is, anything else as compact JSON; null is undefined_text. Never throws: bytes that are no
// UTF-8 are replaced.
std::string json_text(const Json& value);

// Escaped for HTML text and quoted attributes; control characters become U+FFFD.
std::string html(std::string_view text);
// For one cell of a Markdown table.
std::string markdown(std::string_view text);
// For a terminal: control characters, which could move the cursor or hide text, become "?".
std::string plain(std::string_view text);
// For LaTeX in text mode; control characters become spaces.
std::string latex(std::string_view text);
// One field of a line of CSV as in RFC 4180, in quotes if it must be; control characters become spaces.
std::string csv(std::string_view text);

}  // namespace mcci::report
