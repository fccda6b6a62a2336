#pragma once

#include <functional>
#include <memory>
#include <string>

#include "mcci/core/registry.hpp"
#include "mcci/train/defense.hpp"

namespace mcci {

// Every way to train: none, mcci, ... One line each.
const Registry<std::function<std::unique_ptr<Defense>()>>& defenses();

// The preset of a defense where none is named: the short recipe `fast` if it has one, else its first.
std::string default_preset(const Defense& defense);

}  // namespace mcci
