#pragma once

#include <string>

#include "mcci/state/tensors.hpp"

namespace mcci {

// A tensor's name as messages show it: in quotes, control characters escaped, cut if it is very long.
// It may come from a file that nobody vouches for.
std::string shown_name(const std::string& name);

// Errors: usage, naming `where`, unless all are dense tensors with UTF-8 names of their own.
void check_names(const TensorList& tensors, const std::string& where);

}  // namespace mcci
