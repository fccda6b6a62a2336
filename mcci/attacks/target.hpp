#pragma once

#include <cstdint>
#include <string>

#include "mcci/core/options.hpp"

namespace mcci {

// What a triggered image shall be taken for; shared by all attacks.
struct TargetOptions {
  std::int64_t target_class = 0;
  std::string target_mode = "all-to-one";

  void declare(OptionSet& set);
  // The class alone: a clean-label attack, which triggers images of one class, cannot be all-to-all.
  void declare_class(OptionSet& set);
  // See Attack::attack_label. Errors: usage if the data set has no class `target_class`.
  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const;
};

}  // namespace mcci
