#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mcci/state/tensors.hpp"

namespace mcci {

// The same network goes by other names in timm, torchvision, transformers and OpenCLIP. A layout is one such
// way to name (and cut, and shape) its tensors, as a table that is read in both directions: a file is
// translated into the network's own names, and a trained network back into the layout its weights came from.

// One line of the table. `#` stands for a number, the same on both sides.
struct LayoutRow {
  enum class Kind {
    module,  // names of a module: all its weight, bias, running_mean, ... alike
    tensor,  // the full name of one tensor
  };
  enum class Shape {
    same,
    transposed,  // [P,D] here, [D,P] there
    vector,      // [1,1,D] here, [D] there
    matrix,      // [1,N,D] here, [N,D] there
    column,      // [C] here, [C,1,1] there
  };

  std::string own;
  std::vector<std::string> theirs;  // usually one; several are equal parts of ours along dimension 0
  Kind kind = Kind::module;
  Shape shape = Shape::same;
};

struct Layout {
  std::string name;  // "timm", "torchvision", ...: unique in its family
  std::vector<LayoutRow> rows;
  std::vector<std::string> ignored;  // beginnings of names that the network has no use for: "pooler."
  // Its head is a projection without bias (CLIP): read as a head whose bias is zero, and written as such if
  // the bias is zero; any other head is written under our names.
  bool head_has_no_bias = false;
  // The class token's position is part of the class token (timm's ViTs with registers).
  bool class_position_in_token = false;
};

// All layouts of one architecture.
struct LayoutFamily {
  std::string name;   // "ViT"
  std::string first;  // our name of the first convolution, which every file has
  std::string head;   // our name of the last linear layer
  std::vector<Layout> layouts;

  // Errors: usage, listing the candidates.
  const Layout& at(const std::string& layout) const;
};

// Which layout a file is in.
struct FoundLayout {
  const LayoutFamily* family = nullptr;
  const Layout* layout = nullptr;
  std::string prefix;  // that all names of the network have in this file: "", "module.", "visual."
};

// Told from the names alone, among all families: the first convolution shows the prefix, and the layout that
// names most of what has this prefix is the one. Empty if none names at least half of it.
std::optional<FoundLayout> recognise_layout(const TensorList& tensors);

// Under our names, sharing storage where nothing is cut. What the layout ignores, and what lies outside the
// prefix (a text tower), is left out; names it does not know stay as they are, for load_module_state to
// complain of.
TensorList to_own_names(const TensorList& tensors, const FoundLayout& found);

// The reverse. Errors: usage, naming them, if the layout has no place for some of the tensors.
TensorList to_layout(const TensorList& own, const FoundLayout& found);

}  // namespace mcci
