#pragma once

#include <string>

namespace mcci {

// A tensor's name as messages show it: in quotes, control characters escaped, cut if it is very long.
// It may come from a file that nobody vouches for.
std::string shown_name(const std::string& name);

}  // namespace mcci
