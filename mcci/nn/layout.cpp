#include "mcci/nn/layout.hpp"

#include <algorithm>
#include <cctype>
#include <set>
#include <unordered_map>

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "mcci/core/error.hpp"
#include "mcci/nn/convnext.hpp"
#include "mcci/nn/efficientnet.hpp"
#include "mcci/nn/resnet.hpp"
#include "mcci/nn/vit.hpp"
#include "mcci/state/names.hpp"

namespace mcci {
namespace {

constexpr std::size_t most_prefixes = 16;  // that are tried: a name like "conv1" occurs in every block

std::vector<const LayoutFamily*> families() {
  return {&resnet_layouts(), &efficientnet_layouts(), &convnext_layouts(), &vit_layouts()};
}

bool starts_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// `name` itself and with each of its numbers in turn replaced by '#', with that number.
std::vector<std::pair<std::string, std::string>> patterns_of(const std::string& name) {
  std::vector<std::pair<std::string, std::string>> result = {{name, ""}};
  for (std::size_t i = 0; i < name.size();) {
    if (!is_digit(name[i])) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < name.size() && is_digit(name[end])) ++end;
    result.emplace_back(name.substr(0, i) + "#" + name.substr(end), name.substr(i, end - i));
    i = end;
  }
  return result;
}

std::string filled(const std::string& pattern, const std::string& number) {
  const std::size_t at = pattern.find('#');
  return at == std::string::npos ? pattern : pattern.substr(0, at) + number + pattern.substr(at + 1);
}

// One side of a layout's rows, to look names up in.
class Index {
 public:
  struct Match {
    const LayoutRow* row = nullptr;  // null: none has the name
    std::size_t part = 0;            // of row->theirs
    std::string number;              // that stands for '#'
    std::string leaf;                // ".weight", for rows that name a module
    bool ignored = false;
  };

  static Index of_theirs(const Layout& layout) {
    Index index;
    for (const LayoutRow& row : layout.rows) {
      for (std::size_t part = 0; part < row.theirs.size(); ++part) index.add(row.theirs[part], row, part);
    }
    index.ignored_ = layout.ignored;
    return index;
  }

  static Index of_ours(const Layout& layout) {
    Index index;
    for (const LayoutRow& row : layout.rows) index.add(row.own, row, 0);
    return index;
  }

  Match find(const std::string& name) const {
    for (const std::string& start : ignored_) {
      Match match;
      match.ignored = true;
      if (starts_with(name, start)) return match;
    }
    if (Match match = find(tensors_, name); match.row != nullptr) return match;
    const std::size_t dot = name.rfind('.');
    static const std::set<std::string> leaves = {".weight", ".bias", ".running_mean", ".running_var",
                                                 ".num_batches_tracked"};
    if (dot == std::string::npos || leaves.count(name.substr(dot)) == 0) return {};
    Match match = find(modules_, name.substr(0, dot));
    match.leaf = name.substr(dot);
    return match;
  }

 private:
  using Table = std::unordered_map<std::string, Match>;

  void add(const std::string& pattern, const LayoutRow& row, std::size_t part) {
    Match match;
    match.row = &row;
    match.part = part;
    (row.kind == LayoutRow::Kind::module ? modules_ : tensors_)[pattern] = match;
  }

  static Match find(const Table& table, const std::string& name) {
    for (const auto& [pattern, number] : patterns_of(name)) {
      const auto found = table.find(pattern);
      if (found == table.end()) continue;
      Match match = found->second;
      match.number = number;
      return match;
    }
    return {};
  }

  Table modules_;
  Table tensors_;
  std::vector<std::string> ignored_;
};

at::Tensor own_shape(const at::Tensor& theirs, LayoutRow::Shape shape) {
  using Shape = LayoutRow::Shape;
  if (shape == Shape::transposed && theirs.dim() == 2) return theirs.t();
  if (shape == Shape::vector && theirs.dim() == 1) return theirs.unsqueeze(0).unsqueeze(0);
  if (shape == Shape::matrix && theirs.dim() == 2) return theirs.unsqueeze(0);
  if (shape == Shape::column && theirs.dim() == 3 && theirs.numel() == theirs.size(0))
    return theirs.squeeze(2).squeeze(1);
  return theirs;  // of a false shape, which loading complains of
}

at::Tensor their_shape(const at::Tensor& own, LayoutRow::Shape shape) {
  using Shape = LayoutRow::Shape;
  switch (shape) {
    case Shape::same:
      return own;
    case Shape::transposed:
      return own.t();
    case Shape::vector:
      return own.squeeze(0).squeeze(0);
    case Shape::matrix:
      return own.squeeze(0);
    case Shape::column:
      return own.unsqueeze(1).unsqueeze(2);
  }
  throw Error(ErrorKind::internal, "unknown shape of a layout");
}

at::Tensor* find(TensorList& tensors, const std::string& name) {
  for (auto& [key, tensor] : tensors) {
    if (key == name) return &tensor;
  }
  return nullptr;
}

// A matrix that is cut in several tensors: complete once all are there and alike.
struct Parts {
  std::string own;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  bool fit() const {
    const at::Tensor& first = tensors.front().second;
    return std::all_of(tensors.begin(), tensors.end(), [&](const auto& part) {
      const at::Tensor& tensor = part.second;
      return tensor.defined() && tensor.dim() > 0 && tensor.sizes() == first.sizes() &&
             tensor.scalar_type() == first.scalar_type();
    });
  }
};

// The names of `tensors` that end in `end` as a whole, without it; the shortest first.
std::set<std::pair<std::size_t, std::string>> prefixes_before(const TensorList& tensors,
                                                              const std::string& end) {
  std::set<std::pair<std::size_t, std::string>> result;
  for (const auto& [name, tensor] : tensors) {
    if (name.size() < end.size() || name.compare(name.size() - end.size(), end.size(), end) != 0) continue;
    const std::string prefix = name.substr(0, name.size() - end.size());
    if (!prefix.empty() && prefix.back() != '.') continue;
    result.emplace(prefix.size(), prefix);
    if (result.size() > most_prefixes) result.erase(std::prev(result.end()));
  }
  return result;
}

const LayoutRow& row_of(const Layout& layout, const std::string& own) {
  for (const LayoutRow& row : layout.rows) {
    if (row.own == own) return row;
  }
  throw Error(ErrorKind::internal, "the layout " + layout.name + " has no row for " + own);
}

}  // namespace

const Layout& LayoutFamily::at(const std::string& layout) const {
  std::vector<std::string> names;
  for (const Layout& candidate : layouts) {
    if (candidate.name == layout) return candidate;
    names.push_back(candidate.name);
  }
  throw Error(ErrorKind::usage, "there is no layout '" + layout + "' of weights of " + name, "",
              "use " + candidates(layout, names));
}

std::optional<FoundLayout> recognise_layout(const TensorList& tensors) {
  std::optional<FoundLayout> best;
  std::size_t most = 0;
  std::size_t fewest_unknown = 0;
  for (const LayoutFamily* family : families()) {
    for (const Layout& layout : family->layouts) {
      const Index index = Index::of_theirs(layout);
      const std::string first = row_of(layout, family->first).theirs.front() + ".weight";
      for (const auto& [length, prefix] : prefixes_before(tensors, first)) {
        std::size_t named = 0;
        std::size_t all = 0;
        for (const auto& [name, tensor] : tensors) {
          if (!starts_with(name, prefix)) continue;
          const Index::Match match = index.find(name.substr(length));
          if (match.row != nullptr) ++named;
          if (!match.ignored) ++all;
        }
        const std::size_t unknown = all - named;
        if (named < unknown || named < most || (named == most && (named == 0 || unknown >= fewest_unknown)))
          continue;
        most = named;
        fewest_unknown = unknown;
        best = FoundLayout{family, &layout, prefix};
      }
    }
  }
  return best;
}

TensorList to_own_names(const TensorList& tensors, const FoundLayout& found) {
  const c10::NoGradGuard no_grad;
  const Index index = Index::of_theirs(*found.layout);
  TensorList own;
  std::unordered_map<std::string, Parts> cut;
  for (const auto& [name, tensor] : tensors) {
    if (!starts_with(name, found.prefix)) continue;
    const std::string theirs = name.substr(found.prefix.size());
    const Index::Match match = index.find(theirs);
    if (match.ignored) continue;
    if (match.row == nullptr) {
      own.emplace_back(theirs, tensor);
      continue;
    }
    const std::string ours = filled(match.row->own, match.number) + match.leaf;
    if (match.row->theirs.size() == 1) {
      own.emplace_back(ours, own_shape(tensor, match.row->shape));
      continue;
    }
    Parts& parts = cut[ours];
    if (parts.tensors.empty()) parts.tensors.resize(match.row->theirs.size());
    parts.tensors[match.part] = {theirs, tensor};
    const bool complete = std::all_of(parts.tensors.begin(), parts.tensors.end(),
                                      [](const auto& part) { return part.second.defined(); });
    if (complete && parts.fit()) {
      std::vector<at::Tensor> pieces;
      for (const auto& part : parts.tensors) pieces.push_back(part.second);
      own.emplace_back(ours, at::cat(pieces));
      cut.erase(ours);
    }
  }
  for (const auto& [ours, parts] : cut) {
    for (const auto& [theirs, tensor] : parts.tensors) {
      if (tensor.defined()) own.emplace_back(theirs, tensor);
    }
  }
  const std::string& head = found.family->head;
  if (found.layout->head_has_no_bias && find(own, head + ".bias") == nullptr) {
    const at::Tensor* weight = find(own, head + ".weight");
    if (weight != nullptr && weight->dim() == 2) {
      const at::Tensor bias = at::zeros({weight->size(0)}, weight->options());
      own.emplace_back(head + ".bias", bias);
    }
  }
  if (found.layout->class_position_in_token) {
    at::Tensor* positions = find(own, "pos_embed");
    if (positions != nullptr && positions->dim() == 3) {
      *positions = at::cat(
          {at::zeros({positions->size(0), 1, positions->size(2)}, positions->options()), *positions}, 1);
    }
  }
  return own;
}

TensorList to_layout(const TensorList& own, const FoundLayout& found) {
  const c10::NoGradGuard no_grad;
  const Layout& layout = *found.layout;
  const Index index = Index::of_ours(layout);
  TensorList ours = own;
  std::set<std::string> kept;  // under our names
  const std::string head_weight = found.family->head + ".weight";
  const std::string head_bias = found.family->head + ".bias";
  if (layout.head_has_no_bias) {
    const at::Tensor* bias = find(ours, head_bias);
    if (bias != nullptr && bias->count_nonzero().item<std::int64_t>() == 0) {
      ours.erase(std::find_if(ours.begin(), ours.end(),
                              [&](const auto& named) { return named.first == head_bias; }));
    } else {
      kept = {head_weight, head_bias};
    }
  }
  if (layout.class_position_in_token) {
    at::Tensor* token = find(ours, "cls_token");
    at::Tensor* positions = find(ours, "pos_embed");
    if (find(ours, "reg_token") == nullptr || token == nullptr || positions == nullptr) {
      throw Error(ErrorKind::usage,
                  "the layout " + layout.name + " has no place for a network without registers", "",
                  "write the weights in another layout");
    }
    *token = *token + positions->narrow(1, 0, 1);
    *positions = positions->narrow(1, 1, positions->size(1) - 1);
  }

  TensorList theirs;
  std::string homeless;
  for (const auto& [name, tensor] : ours) {
    if (kept.count(name) > 0) {
      theirs.emplace_back(found.prefix + name, tensor);
      continue;
    }
    const Index::Match match = index.find(name);
    if (match.row == nullptr) {
      homeless += (homeless.empty() ? "" : ", ") + shown_name(name);
      continue;
    }
    const auto parts = static_cast<std::int64_t>(match.row->theirs.size());
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t extent = parts == 1 || tensor.dim() == 0 ? 0 : tensor.size(0) / parts;
      const at::Tensor piece = parts == 1 ? tensor : tensor.narrow(0, part * extent, extent);
      const std::string& pattern = match.row->theirs[static_cast<std::size_t>(part)];
      theirs.emplace_back(found.prefix + filled(pattern, match.number) + match.leaf,
                          their_shape(piece, match.row->shape));
    }
  }
  if (!homeless.empty()) {
    throw Error(ErrorKind::usage,
                "the layout " + layout.name + " has no place for this network's " + homeless, "",
                "write the weights in another layout");
  }
  return theirs;
}

}  // namespace mcci
