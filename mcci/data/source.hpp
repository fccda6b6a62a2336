#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "mcci/data/dataset.hpp"

namespace mcci {

// The readers of this room: one format each. A reader finds the samples; what becomes of them (one shape, in
// memory or on demand) is decided below, the same for all.
struct OpenRequest {
  std::filesystem::path folder;
  Split split = Split::train;
  DatasetOptions options;
  std::vector<std::string> classes;  // names that replace numbers, of an alias; may be empty
};

bool is_mcci_folder(const std::filesystem::path& folder);
bool is_cifar10_folder(const std::filesystem::path& folder);
bool is_cifar100_folder(const std::filesystem::path& folder);
bool is_idx_folder(const std::filesystem::path& folder);
bool is_class_folders(const std::filesystem::path& folder);

DatasetPtr open_mcci_folder(const OpenRequest& request);
DatasetPtr open_cifar10(const OpenRequest& request);
DatasetPtr open_cifar100(const OpenRequest& request);
DatasetPtr open_idx(const OpenRequest& request);
DatasetPtr open_class_folders(const OpenRequest& request);

// Samples whose pixels are in memory already, all of one shape.
struct PixelSource {
  at::Tensor images;  // [N,C,H,W] uint8
  at::Tensor labels;  // [N] int64
  std::vector<std::string> classes;
  std::vector<std::string> names;
};
DatasetPtr load_pixels(PixelSource source, const DatasetOptions& options);

// Samples that are image files.
struct FileSource {
  std::filesystem::path root;
  std::vector<std::string> paths;  // below root; also the samples' names
  std::vector<std::int64_t> labels;
  std::vector<std::string> classes;
  std::optional<ImageShape> declared;  // what every file must be; none: whatever it is
};
// Leaves out bad images, or throws for the first one if options.strict. Without `target` the images' common
// shape is taken, or 32x32 if they have none, then changed as options ask. Errors: data if an image is bad
// and strict, or if not one can be read; io if a file cannot be read.
DatasetPtr load_files(FileSource source, std::optional<ImageShape> target, const DatasetOptions& options);

constexpr const char* image_extensions_hint = "images are files .jpg .jpeg .png .ppm .pgm .bmp";

// Every image below `folder` by its extension, at any depth, sorted; hidden files and folders are passed over
// and links to folders are not followed. Errors: io if a folder cannot be read.
std::vector<std::filesystem::path> images_below(const std::filesystem::path& folder);
// Names of the folders directly below (links to folders too), sorted, without hidden ones. Errors: as above.
std::vector<std::string> subfolders(const std::filesystem::path& folder);

// One name per line. Errors: data if one is empty or there twice, or if there are not `count` of them (0:
// any).
std::vector<std::string> read_class_names(const std::filesystem::path& path, std::size_t count = 0);
// "0", "1", ...
std::vector<std::string> numbered_classes(std::size_t count);

// DatasetOptions::memory_limit_gib; a source of pixels must fit in it before it is fitted, too.
std::uint64_t memory_limit_bytes(const DatasetOptions& options);
// The whole file. Errors: usage, naming the option, if it is larger than `limit_bytes` left of that memory;
// io.
std::string read_within(const std::filesystem::path& path, std::uint64_t limit_bytes);

// `indices` as contiguous int64 numbers. Errors: internal if they are of another type or one is outside [0,
// size).
at::Tensor checked_indices(const at::Tensor& indices, std::int64_t size);

}  // namespace mcci
