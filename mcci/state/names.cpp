#include "mcci/state/names.hpp"

#include <nlohmann/json.hpp>

namespace mcci {

std::string shown_name(const std::string& name) {
  constexpr std::size_t longest = 120;
  const std::string cut = name.size() > longest ? name.substr(0, longest) + "..." : name;
  return nlohmann::json(cut).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace mcci
