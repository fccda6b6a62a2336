#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace mcci {

// Named tensors in the order in which they were added.
using TensorList = std::vector<std::pair<std::string, at::Tensor>>;

struct TensorFile {
  TensorList tensors;  // in the order of the file
  std::map<std::string, std::string> metadata;
  std::vector<std::string> left_out;  // what else the file holds, by name: the optimizer of a checkpoint
};

// What is read of a file. Shapes alone: tensors on the meta device, which have dtype and shape but no data.
enum class Content { all, shapes };

// safetensors (docs/formats/weights.md): an 8-byte little-endian header length, a JSON header, raw row-major
// data. F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL. Written atomically, each tensor aligned to its element size;
// readable by Python's safetensors. Errors: io; usage for a dtype or layout the format does not have, and a
// name that is taken, reserved or no UTF-8.
void save_safetensors(const std::filesystem::path& path, const TensorList& tensors,
                      const std::map<std::string, std::string>& metadata = {});

// Contiguous tensors on the CPU.
// Nothing is allocated before the header's sizes have been checked against the file: offsets must lie inside
// the data, not overlap, leave no hole, and equal shape x dtype. Errors: io if the file cannot be read; data,
// naming file and tensor, if it is truncated or its header is false.
TensorFile load_safetensors(const std::filesystem::path& path, Content content = Content::all);

}  // namespace mcci
