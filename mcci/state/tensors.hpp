#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace mcci {

// Named tensors in the order in which they were added.
using TensorList = std::vector<std::pair<std::string, at::Tensor>>;

struct TensorFile {
  TensorList tensors;
  std::map<std::string, std::string> metadata;
};

// safetensors (https://huggingface.co/docs/safetensors): an 8-byte little-endian header length, a JSON header, raw
// row-major data. Written atomically, tensors aligned to 8 bytes; readable by Python's safetensors.
// Errors: io; usage for a dtype the format does not have.
void save_safetensors(const std::filesystem::path& path, const TensorList& tensors,
                      const std::map<std::string, std::string>& metadata = {});

// Nothing is allocated before the header's sizes have been checked against the file: offsets must lie inside the
// data, not overlap, leave no hole, and equal shape x dtype.
// Errors: io if the file cannot be read; data, naming file and tensor, if it is truncated or its header is false.
TensorFile load_safetensors(const std::filesystem::path& path);

}  // namespace mcci
