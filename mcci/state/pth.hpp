#pragma once

#include <filesystem>

#include "mcci/state/tensors.hpp"

namespace mcci {

// What Python's torch.save writes since PyTorch 1.6 (docs/formats/weights.md, "PyTorch"): a zip archive of a
// pickle and of raw storages. The pickle is read as inert data (pickle.hpp): a file that nobody vouches for
// can run no code.
//
// The file holds a state_dict, or a checkpoint that has one as its member `state_dict`, `model_state_dict`,
// `model`, `module`, `net` or `teacher`, in this order, or as the only member of tensors. Plain values beside
// it, also those of an argparse.Namespace, become metadata ("args.lr"); the names of all other members, such
// as `optimizer`, are in `left_out`.
//
// The tensors are on the CPU, with the strides with which they were saved; those that shared a storage still
// do. Nothing is allocated before it has been checked against the file. Errors: io; data, naming file and
// tensor, if it is anything else: in PyTorch's old format, a TorchScript program, an object of any class that
// is not plain data, damaged, big-endian.
TensorFile load_pth(const std::filesystem::path& path, Content content = Content::all);

// A state_dict that torch.load reads, with weights_only=True too. Written atomically.
// Errors: io; usage for a dtype that cannot be saved, and for names that are no UTF-8 or occur twice.
void save_pth(const std::filesystem::path& path, const TensorList& tensors);

}  // namespace mcci
