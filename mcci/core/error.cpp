#include "mcci/core/error.hpp"

#include <algorithm>
#include <numeric>

namespace mcci {
namespace {

std::string message(const std::string& what, const std::string& where, const std::string& hint) {
  return (where.empty() ? "" : where + ": ") + what + (hint.empty() ? "" : "; " + hint);
}

// Levenshtein: insertions, deletions and substitutions that turn `a` into `b`.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

Error::Error(ErrorKind kind, const std::string& what, const std::string& where, const std::string& hint)
    : std::runtime_error(message(what, where, hint)), kind_(kind) {}

int Error::exit_code() const noexcept {
  switch (kind_) {
    case ErrorKind::usage:
      return 2;
    case ErrorKind::data:
      return 3;
    case ErrorKind::io:
      return 4;
    case ErrorKind::interrupted:
      return 130;
    case ErrorKind::internal:
      return 1;
  }
  return 1;
}

std::string candidates(const std::string& wanted, const std::vector<std::string>& known) {
  constexpr std::size_t max_listed = 8;
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (const std::string& name : known) ranked.emplace_back(edit_distance(wanted, name), name);
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  ranked.resize(std::min(ranked.size(), max_listed));

  std::string list;
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    if (i > 0) list += i + 1 == ranked.size() ? " or " : ", ";
    list += ranked[i].second;
  }
  return list;
}

}  // namespace mcci
