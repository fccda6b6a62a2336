#include "mcci/nn/weights.hpp"

#include <algorithm>

#include "mcci/core/error.hpp"
#include "mcci/core/log.hpp"
#include "mcci/state/module_state.hpp"
#include "mcci/state/names.hpp"

namespace mcci {
namespace {

constexpr std::size_t names_shown = 4;

std::string layout_names(const LayoutFamily& family) {
  std::string text;
  for (const Layout& layout : family.layouts) text += (text.empty() ? "" : ", ") + layout.name;
  return text;
}

[[noreturn]] void refuse_layout(const TensorList& tensors, const LayoutFamily& family,
                                const std::string& where) {
  std::string names;
  for (std::size_t i = 0; i < std::min(names_shown, tensors.size()); ++i)
    names += (i == 0 ? "" : ", ") + shown_name(tensors[i].first);
  if (tensors.size() > names_shown) names += ", ...";
  throw Error(ErrorKind::data, "its names (" + names + ") belong to no known layout of weights", where,
              "known layouts of " + family.name + ": " + layout_names(family));
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

const at::Tensor* find(const TensorList& tensors, const std::string& name) {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return &tensor;
  }
  return nullptr;
}

}  // namespace

LoadedWeights load_weights(Backbone& backbone, const TensorList& tensors, const std::string& where) {
  const LayoutFamily& family = *backbone.entry().layouts;
  const std::optional<FoundLayout> found = recognise_layout(tensors);
  if (!found) refuse_layout(tensors, family, where);
  if (found->family != &family) {
    throw Error(
        ErrorKind::data,
        "these are weights of " + found->family->name + ", but the backbone is of the family " + family.name,
        where, "name the backbone that they were made for");
  }
  TensorList own = to_own_names(tensors, *found);
  backbone.fit_to_image_size(own);

  const std::string weight_name = backbone.head_name() + ".weight";
  const std::string bias_name = backbone.head_name() + ".bias";
  const TensorList state = module_state(backbone);
  const at::Tensor* given = find(own, weight_name);
  const at::Tensor& present = *find(state, weight_name);
  const bool head = given != nullptr && given->sizes() == present.sizes();
  if (!head) {
    const std::string reason = given == nullptr ? "has none"
                               : given->dim() == 2
                                   ? "has one for " + std::to_string(given->size(0)) + " classes"
                                   : "has one of a false shape";
    own.erase(std::remove_if(
                  own.begin(), own.end(),
                  [&](const auto& named) { return named.first == weight_name || named.first == bias_name; }),
              own.end());
    for (const std::string& name : {weight_name, bias_name}) own.emplace_back(name, *find(state, name));
    log_info(where + ": everything but the last layer, of which the file " + reason +
             " and the model one for " + std::to_string(present.size(0)));
  }
  for (const auto& [name, tensor] : state) {
    if (ends_with(name, ".num_batches_tracked") && find(own, name) == nullptr) own.emplace_back(name, tensor);
  }
  load_module_state(backbone, own, where + ", in the layout " + found->layout->name);
  return {*found, head};
}

TensorList weights_of(const Backbone& backbone, const FoundLayout& found) {
  return to_layout(module_state(backbone), found);
}

std::shared_ptr<Backbone> copy_of(const Backbone& backbone, const BackboneConfig& config) {
  std::shared_ptr<Backbone> copy = make_backbone(config);
  load_module_state(*copy, module_state(backbone), "a copy");
  copy->eval();
  return copy;
}

}  // namespace mcci
