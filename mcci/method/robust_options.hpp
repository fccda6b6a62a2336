#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mcci/core/options.hpp"

namespace mcci {

// Of robust training (robust.hpp), beside what all training has.
struct RobustOptions {
  std::int64_t keyhole_epochs = 2;
  std::int64_t keyhole_images = 20000;
  double keyhole_confidence = 0.7;
  std::int64_t glimpse_epochs = 2;
  std::int64_t glimpse_images = 50000;
  std::int64_t indicator_epochs = 8;
  double marked_share = 0.33;
  double prior = 0.12;
  double recovery_confidence = 0.8;
  double transplants = 0.2;
  std::vector<std::string> leave_out;

  bool has(const std::string& part) const;  // false: it is left out
  void declare(OptionSet& set);
};

}  // namespace mcci
