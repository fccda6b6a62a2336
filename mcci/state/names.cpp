#include "mcci/state/names.hpp"

#include <unordered_set>

#include <nlohmann/json.hpp>

#include "mcci/core/error.hpp"

namespace mcci {

std::string shown_name(const std::string& name) {
  constexpr std::size_t longest = 120;
  const std::string cut = name.size() > longest ? name.substr(0, longest) + "..." : name;
  return nlohmann::json(cut).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void check_names(const TensorList& tensors, const std::string& where) {
  std::unordered_set<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    try {
      static_cast<void>(nlohmann::json(name).dump());
    } catch (const nlohmann::json::exception&) {
      throw Error(ErrorKind::usage, "the name " + shown_name(name) + " is not UTF-8", where);
    }
    if (!names.insert(name).second)
      throw Error(ErrorKind::usage, "two tensors are named " + shown_name(name), where);
    if (!tensor.defined() || tensor.layout() != at::kStrided)
      throw Error(ErrorKind::usage, shown_name(name) + " is no dense tensor", where);
  }
}

}  // namespace mcci
