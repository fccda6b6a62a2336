#pragma once

#include <cstdint>
#include <string>

#include "mcci/core/options.hpp"

namespace mcci {

// What a triggered image shall be taken for; shared by all attacks that change labels.
struct TargetOptions {
  std::int64_t target_class = 0;
  std::string target_mode = "all-to-one";

  void declare(OptionSet& set);
  // See Attack::attack_label. Errors: usage if the data set has no class `target_class`.
  std::int64_t attack_label(std::int64_t label, std::int64_t num_classes) const;
};

}  // namespace mcci
