#pragma once

#include <string>
#include <utility>
#include <vector>

#include "mcci/core/error.hpp"

namespace mcci {

// Names to values, in the order given. A registry is one table in one source file, so that adding an entry
// is one line there; nothing registers itself at static initialisation.
template <class T>
class Registry {
 public:
  struct Entry {
    std::string name;
    std::string description;
    T value;
  };

  // `kind` is the noun used in messages: "attack", "backbone", ...
  Registry(std::string kind, std::vector<Entry> entries)
      : kind_(std::move(kind)), entries_(std::move(entries)) {}

  // Errors: usage, listing the candidates, when there is no such name.
  const T& at(const std::string& name) const {
    for (const Entry& entry : entries_) {
      if (entry.name == name) return entry.value;
    }
    throw Error(ErrorKind::usage, "there is no " + kind_ + " '" + name + "'", "",
                "use " + candidates(name, names()));
  }

  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const Entry& entry : entries_) result.push_back(entry.name);
    return result;
  }

  const std::vector<Entry>& entries() const noexcept { return entries_; }

 private:
  std::string kind_;
  std::vector<Entry> entries_;
};

}  // namespace mcci
