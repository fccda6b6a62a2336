#pragma once

#include <functional>
#include <memory>

#include "mcci/core/registry.hpp"
#include "mcci/train/defense.hpp"

namespace mcci {

// Every way to train: none, mcci, ... One line each.
const Registry<std::function<std::unique_ptr<Defense>()>>& defenses();

}  // namespace mcci
