#include "mcci/state/module_state.hpp"

#include <sstream>
#include <unordered_map>

#include <c10/core/GradMode.h>
#include <c10/core/ScalarType.h>

#include "mcci/core/error.hpp"
#include "mcci/state/names.hpp"

namespace mcci {
namespace {

void append_state(const torch::nn::Module& module, const std::string& prefix, TensorList& state) {
  for (const auto& parameter : module.named_parameters(/*recurse=*/false)) {
    state.emplace_back(prefix + parameter.key(), parameter.value());
  }
  for (const auto& buffer : module.named_buffers(/*recurse=*/false)) {
    state.emplace_back(prefix + buffer.key(), buffer.value());
  }
  for (const auto& child : module.named_children())
    append_state(*child.value(), prefix + child.key() + ".", state);
}

// "float [3, 4]"
std::string describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  std::ostringstream text;
  text << c10::toString(tensor.scalar_type()) << " " << tensor.sizes();
  return text.str();
}

bool fits(const at::Tensor& given, const at::Tensor& own) {
  if (!given.defined() || given.sizes() != own.sizes()) return false;
  return given.scalar_type() == own.scalar_type() || (given.is_floating_point() && own.is_floating_point());
}

// One kind of misfit, as "3 missing (a, b, c)"; long lists are cut.
class Complaint {
 public:
  explicit Complaint(std::string noun) : noun_(std::move(noun)) {}

  void add(const std::string& name) {
    if (count_ < 6) names_ += (count_ == 0 ? "" : ", ") + name;
    if (count_ == 6) names_ += ", ...";
    ++count_;
  }

  void append_to(std::string& text) const {
    if (count_ == 0) return;
    text += (text.empty() ? "" : "; ") + std::to_string(count_) + " " + noun_ + " (" + names_ + ")";
  }

 private:
  std::string noun_;
  std::string names_;
  int count_ = 0;
};

}  // namespace

TensorList module_state(const torch::nn::Module& module) {
  TensorList state;
  append_state(module, "", state);
  return state;
}

void load_module_state(torch::nn::Module& module, const TensorList& tensors, const std::string& where) {
  Complaint missing("missing"), unexpected("unexpected"), repeated("repeated"),
      unfitting("of another shape or type");
  const TensorList state = module_state(module);

  std::unordered_map<std::string, at::Tensor> given;
  for (const auto& [name, tensor] : tensors) {
    if (!given.emplace(name, tensor).second) repeated.add(shown_name(name));
  }
  std::unordered_map<std::string, at::Tensor> own(state.begin(), state.end());
  for (const auto& [name, tensor] : tensors) {
    if (own.count(name) == 0) unexpected.add(shown_name(name));
  }
  for (const auto& [name, tensor] : state) {
    const auto found = given.find(name);
    if (found == given.end()) {
      missing.add(shown_name(name));
    } else if (!fits(found->second, tensor)) {
      unfitting.add(shown_name(name) + ": " + describe(found->second) + " for " + describe(tensor));
    }
  }

  std::string complaints;
  for (const Complaint& complaint : {missing, unexpected, repeated, unfitting})
    complaint.append_to(complaints);
  if (!complaints.empty()) {
    throw Error(ErrorKind::data, "the weights do not fit the model: " + complaints, where,
                "check the model's name, width, image size and number of classes");
  }
  const c10::NoGradGuard no_grad;
  for (const auto& [name, tensor] : state) tensor.copy_(given.at(name));
}

TensorList with_prefix_removed(const TensorList& tensors, const std::string& prefix) {
  const std::string start = prefix + ".";
  TensorList result;
  for (const auto& [name, tensor] : tensors) {
    if (name.compare(0, start.size(), start) == 0) result.emplace_back(name.substr(start.size()), tensor);
  }
  return result;
}

TensorList with_prefix_added(const TensorList& tensors, const std::string& prefix) {
  TensorList result;
  for (const auto& [name, tensor] : tensors) result.emplace_back(prefix + "." + name, tensor);
  return result;
}

}  // namespace mcci
