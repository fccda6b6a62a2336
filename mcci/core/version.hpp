#pragma once

#include <string>

namespace mcci {

// "0.1.0"; the version in CMakeLists.txt is its only home.
std::string version();

}  // namespace mcci
