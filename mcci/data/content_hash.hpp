#pragma once

#include <string>

#include "mcci/data/dataset.hpp"

namespace mcci {

// SHA-256 of all images, labels, their shape and the number of classes: what was made from one set is never
// taken for that of another. Names do not count. Reads the whole set. Errors: those of Dataset::images.
std::string content_hash(const Dataset& data);

}  // namespace mcci
