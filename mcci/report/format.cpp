#include "mcci/report/format.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "mcci/core/progress.hpp"

namespace mcci::report {
namespace {

bool is_control(unsigned char byte) { return byte < 0x20 || byte == 0x7f; }

void append_listed(std::string& list, const std::string& item) {
  if (item.empty()) return;
  if (!list.empty()) list += ", ";
  list += item;
}

}  // namespace

std::string fixed(double value, int decimals) {
  // The largest double has 309 digits before the point.
  std::array<char, 400> buffer{};
  const auto end = std::to_chars(buffer.begin(), buffer.end(), value, std::chars_format::fixed, decimals);
  std::string text(buffer.begin(), end.ptr);
  if (text.front() == '-' && text.find_first_not_of("-0.") == std::string::npos) text.erase(0, 1);
  return text;
}

std::string fixed(const std::optional<double>& value, int decimals) {
  return value ? fixed(*value, decimals) : undefined_text;
}

std::string with_separators(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::int64_t first_digit = value < 0 ? 1 : 0;
  for (std::int64_t at = static_cast<std::int64_t>(digits.size()) - 3; at > first_digit; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

std::string count_text(const std::optional<Count>& count) {
  return count ? with_separators(count->hits) + "/" + with_separators(count->total) : "";
}

std::string share_text(const std::optional<double>& share) {
  if (!share) return undefined_text;
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.begin(), buffer.end(), 100 * *share, std::chars_format::general, 3);
  return std::string(buffer.begin(), end.ptr) + "\u00a0%";
}

std::string mean_text(const Measure& measure, int decimals) {
  const std::string mean = fixed(measure.mean(), decimals);
  const std::optional<double> deviation = measure.deviation();
  return deviation ? mean + " ± " + fixed(*deviation, decimals) : mean;
}

std::string detail_text(const Row& row, std::optional<double> Cell::*figure,
                        std::optional<Count> Cell::*count) {
  const Measure measure = row.measure(figure);
  if (measure.values.size() == 1) return count_text(row.first().*count);
  if (measure.defined() == 0) return "";
  std::string list;
  for (const std::optional<double>& value : measure.values) append_listed(list, fixed(value, 1));
  return list;
}

std::string interval_text(const Measure& measure, int decimals) {
  const std::optional<double> interval = measure.interval();
  return interval ? "95\u00a0%: ±\u00a0" + fixed(*interval, decimals) : "";
}

std::string seconds_text(const std::optional<double>& seconds) {
  return seconds ? format_duration(*seconds) : undefined_text;
}

std::string memory_text(const std::optional<double>& mib) {
  if (!mib) return undefined_text;
  return *mib < 1024 ? fixed(*mib, 0) + "\u00a0MiB" : fixed(*mib / 1024, 1) + "\u00a0GiB";
}

std::string attack_detail(const Row& row) {
  const Cell& cell = row.first();
  std::string detail;
  append_listed(detail, cell.attack_preset);
  if (cell.rate.value_or(0) > 0) append_listed(detail, share_text(cell.rate) + " of the set");
  if (!row.implanted()) append_listed(detail, "did not implant");
  return detail;
}

std::string defense_detail(const Row& row) {
  std::string detail;
  append_listed(detail, row.first().preset);
  append_listed(detail, row.distinction);
  if (!row.first().assumes.empty()) append_listed(detail, "given " + row.first().assumes);
  return detail;
}

std::string error_detail(const Row& row) {
  std::string seeds;
  for (const Cell* cell : row.cells) {
    if (!cell->error.empty()) append_listed(seeds, std::to_string(cell->seed));
  }
  return seeds.empty() ? "" : (row.errors() == 1 ? "failed: seed " : "failed: seeds ") + seeds;
}

std::string total_text(const std::vector<Row>& rows, std::optional<Count> Cell::*count) {
  std::int64_t low = std::numeric_limits<std::int64_t>::max(), high = -1;
  for (const Row& row : rows) {
    for (const Cell* cell : row.cells) {
      // Without an attack there is no triggered image.
      if (!(cell->*count) || (cell->*count)->total == 0) continue;
      low = std::min(low, (cell->*count)->total);
      high = std::max(high, (cell->*count)->total);
    }
  }
  if (high < 0) return "";
  return low == high ? with_separators(low) : with_separators(low) + " to " + with_separators(high);
}

std::string json_text(const Json& value) {
  if (value.is_null()) return undefined_text;
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string html(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      case '\n':
      case '\t':
        result += letter;
        break;
      default:
        if (is_control(static_cast<unsigned char>(letter))) {
          result += "\uFFFD";
        } else {
          result += letter;
        }
    }
  }
  return result;
}

std::string markdown(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    if (is_control(static_cast<unsigned char>(letter))) {
      result += ' ';
    } else if (letter == '<') {
      result += "&lt;";
    } else if (letter == '&') {
      result += "&amp;";
    } else {
      if (std::string_view("\\|`*_[]").find(letter) != std::string_view::npos) result += '\\';
      result += letter;
    }
  }
  return result;
}

std::string plain(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F, the other control characters, are C2 80 to C2 9F in UTF-8.
    const bool c1 = byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (c1) ++i;
    if (c1 || is_control(byte)) {
      result += '?';
    } else {
      result += text[i];
    }
  }
  return result;
}

std::string latex(std::string_view text) {
  constexpr std::string_view no_break_space = "\u00a0", double_dagger = "\u2021";
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char letter = text[i];
    if (text.compare(i, no_break_space.size(), no_break_space) == 0) {
      result += '~';
      ++i;
      continue;
    }
    if (text.compare(i, double_dagger.size(), double_dagger) == 0) {
      result += "$^\\ddagger$";
      i += double_dagger.size() - 1;
      continue;
    }
    if (is_control(static_cast<unsigned char>(letter))) {
      result += ' ';
    } else if (letter == '\\') {
      result += "\\textbackslash{}";
    } else if (letter == '~') {
      result += "\\textasciitilde{}";
    } else if (letter == '^') {
      result += "\\textasciicircum{}";
    } else if (letter == '<') {
      result += "\\textless{}";
    } else if (letter == '>') {
      result += "\\textgreater{}";
    } else {
      if (std::string_view("&%$#_{}").find(letter) != std::string_view::npos) result += '\\';
      result += letter;
    }
  }
  return result;
}

std::string csv(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    if (letter == '"') result += '"';
    result += is_control(static_cast<unsigned char>(letter)) ? ' ' : letter;
  }
  return text.find_first_of(",\"") == std::string_view::npos ? result : '"' + result + '"';
}

}  // namespace mcci::report
