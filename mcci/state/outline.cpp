#include "mcci/state/outline.hpp"

#include <algorithm>
#include <map>
#include <memory>

#include <c10/core/ScalarType.h>

namespace mcci {
namespace {

constexpr std::size_t max_depth = 32;  // names come from files that nobody vouches for

// The names, split at their dots; blocks that are alike have been taken together.
struct Node {
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> children;  // in order of appearance
  std::map<std::string, std::size_t> positions;
  std::vector<OutlineRow> tensors;  // of exactly this name

  Node& child(const std::string& name) {
    const auto [found, is_new] = positions.emplace(name, children.size());
    if (is_new) children.emplace_back(name, std::make_unique<Node>());
    return *children[found->second].second;
  }
};

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (parts.size() + 1 < max_depth) {
    const std::size_t dot = name.find('.', begin);
    if (dot == std::string::npos) break;
    parts.push_back(name.substr(begin, dot - begin));
    begin = dot + 1;
  }
  parts.push_back(name.substr(begin));
  return parts;
}

// "encoder_layer_11": "encoder_layer_" and 11; a name without a number at its end, or with a strange one, has
// -1.
std::pair<std::string, std::int64_t> numbered(const std::string& name) {
  constexpr std::size_t most_digits = 9;
  std::size_t begin = name.size();
  while (begin > 0 && name[begin - 1] >= '0' && name[begin - 1] <= '9') --begin;
  const std::string digits = name.substr(begin);
  const bool plain =
      !digits.empty() && digits.size() <= most_digits && (digits[0] != '0' || digits.size() == 1);
  return {name.substr(0, begin), plain ? std::stoll(digits) : -1};
}

bool follows(const std::string& name, const std::string& last) {
  const auto [prefix, number] = numbered(name);
  const auto [last_prefix, last_number] = numbered(last);
  return number > 0 && last_number == number - 1 && prefix == last_prefix;
}

bool alike(const std::vector<OutlineRow>& a, const std::vector<OutlineRow>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const OutlineRow& x, const OutlineRow& y) {
    return x.name == y.name && x.dtype == y.dtype && x.shape == y.shape && x.count == y.count;
  });
}

// What is below a node, named relative to it: "" is the node's own tensor, ".weight" its child's.
std::vector<OutlineRow> rows_of(const Node& node) {
  std::vector<OutlineRow> rows = node.tensors;
  std::string first, last;          // of the run of children that are alike and numbered one after the other
  std::vector<OutlineRow> pending;  // what is below each of them
  std::int64_t run = 0;
  const auto flush = [&] {
    const auto [prefix, from] = numbered(first);
    const std::string name =
        run > 1 ? prefix + "{" + std::to_string(from) + "-" + std::to_string(numbered(last).second) + "}"
                : first;
    for (OutlineRow& row : pending) {
      row.name = "." + name + row.name;
      row.count *= run;
      rows.push_back(std::move(row));
    }
    run = 0;
  };
  for (const auto& [name, child] : node.children) {
    std::vector<OutlineRow> below = rows_of(*child);
    const bool continues = run > 0 && follows(name, last) && alike(below, pending);
    if (!continues) {
      flush();
      first = name;
      pending = std::move(below);
    }
    last = name;
    ++run;
  }
  flush();
  return rows;
}

}  // namespace

std::string dtype_name(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return "float64";
    case at::kFloat:
      return "float32";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kLong:
      return "int64";
    case at::kInt:
      return "int32";
    case at::kShort:
      return "int16";
    case at::kChar:
      return "int8";
    case at::kByte:
      return "uint8";
    case at::kBool:
      return "bool";
    default:
      return c10::toString(tensor.scalar_type());
  }
}

std::vector<OutlineRow> outline(const TensorList& tensors, bool all) {
  std::vector<OutlineRow> rows;
  Node root;
  for (const auto& [name, tensor] : tensors) {
    OutlineRow row{"", dtype_name(tensor), tensor.sizes().vec(), 1};
    if (all) {
      row.name = name;
      rows.push_back(std::move(row));
      continue;
    }
    Node* node = &root;
    for (const std::string& part : parts_of(name)) node = &node->child(part);
    node->tensors.push_back(std::move(row));
  }
  if (all) return rows;
  rows = rows_of(root);
  for (OutlineRow& row : rows) row.name.erase(0, 1);
  return rows;
}

}  // namespace mcci
