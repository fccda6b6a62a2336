#include "mcci/attacks/target.hpp"

#include <limits>

#include "mcci/core/error.hpp"

namespace mcci {

void TargetOptions::declare(OptionSet& set) {
  declare_class(set);
  set.add("target-mode", target_mode, "all-to-one: the target class; all-to-all: class y is taken for y + 1",
          {"all-to-one", "all-to-all"});
}

void TargetOptions::declare_class(OptionSet& set) {
  set.add("target-class", target_class, "the class that triggered images shall be taken for (all-to-one)",
          {0, std::numeric_limits<std::int64_t>::max()});
}

std::int64_t TargetOptions::attack_label(std::int64_t label, std::int64_t num_classes) const {
  if (target_mode == "all-to-all") return (label + 1) % num_classes;
  if (target_class >= num_classes) {
    throw Error(ErrorKind::usage, "there is no class " + std::to_string(target_class), "target-class",
                "the data set has the classes 0 .. " + std::to_string(num_classes - 1));
  }
  return target_class;
}

}  // namespace mcci
