#pragma once

#include <string>
#include <vector>

#include "mcci/state/tensors.hpp"

namespace mcci {

// Tensors that differ in the number of their block alone, as one row: "layer1.{0-2}.conv1.weight".
struct OutlineRow {
  std::string name;
  std::string dtype;                // "float32"
  std::vector<std::int64_t> shape;  // of each
  std::int64_t count = 1;           // tensors that the row stands for
};

// The tensors in their order, blocks that follow each other and hold the same names, dtypes and shapes taken
// together; with `all` one row for each tensor.
std::vector<OutlineRow> outline(const TensorList& tensors, bool all = false);

// "float32", as Python's torch calls it.
std::string dtype_name(const at::Tensor& tensor);

}  // namespace mcci
