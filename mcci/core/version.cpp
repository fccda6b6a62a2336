#include "mcci/core/version.hpp"

namespace mcci {

std::string version() { return MCCI_VERSION; }

}  // namespace mcci
