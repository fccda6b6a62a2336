#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mcci/state/tensors.hpp"

namespace mcci {

struct WeightFile : TensorFile {
  std::string format;  // "safetensors", "pytorch", or "safetensors in 3 files", "pytorch in 3 files"
  std::vector<std::filesystem::path> files;  // all that were read; of several, the index first
};

// Reads weights as they come: safetensors, a file of torch.save, the JSON index of several such files, or a
// folder that holds one of these. What a file is, its first bytes tell, not its name. Of a folder that has
// the same weights twice, safetensors are taken; an index goes before the files it names.
//
// The files of an index lie in its folder, hold the tensors it says and no others, and each tensor once.
// Errors: io, data as load_safetensors and load_pth; usage if a folder holds no weights, or several.
WeightFile read_weights(const std::filesystem::path& path, Content content = Content::all);

// SHA-256 over the content of `weights.files`, whatever they are called.
std::string content_hash(const WeightFile& weights);

}  // namespace mcci
