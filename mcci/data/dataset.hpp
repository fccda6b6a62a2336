#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "mcci/core/options.hpp"

namespace mcci {

struct ImageShape {
  std::int64_t channels = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  bool operator==(const ImageShape& o) const {
    return channels == o.channels && height == o.height && width == o.width;
  }
  bool operator!=(const ImageShape& o) const { return !(*this == o); }
};

// Labelled images as a learner sees them: no truth about poison is reachable from here.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual const ImageShape& shape() const = 0;
  virtual const std::vector<std::string>& classes() const = 0;
  virtual const at::Tensor& labels() const = 0;  // [N] int64, each in [0, classes().size())
  // Names one sample for people: a path relative to the data set's root, or "train-images-idx3-ubyte.gz#17".
  virtual std::string name(std::int64_t index) const = 0;
  // The images at `indices` ([B] int64): [B,C,H,W] uint8, RGB or grey, 0 .. 255. Safe to call from several threads.
  // Errors: data, naming the file, if an image cannot be decoded.
  virtual at::Tensor images(const at::Tensor& indices) const = 0;

  std::int64_t size() const { return labels().size(0); }
  std::int64_t num_classes() const { return static_cast<std::int64_t>(classes().size()); }
};

using DatasetPtr = std::shared_ptr<const Dataset>;

// A data set held in memory. images [N,C,H,W] uint8, labels [N] int64. names may be empty: then "#17".
// Errors: data if the sizes disagree or a label is outside [0, classes).
DatasetPtr make_memory_dataset(at::Tensor images, at::Tensor labels, std::vector<std::string> classes,
                               std::vector<std::string> names = {});

// How images of the source become images of one shape.
struct DatasetOptions {
  std::string format = "auto";   // auto | folder | cifar10 | cifar100 | idx | mcci
  std::int64_t image_size = 0;   // 0: as the source has it (a folder of mixed sizes: 32)
  std::string fit = "resize";    // resize (bilinear, antialiased) | pad (black, centred) | crop (resize, then centre)
  std::int64_t channels = 0;     // 0: as the source has it; 1 or 3
  double memory_limit_gib = 4;   // decoded images stay in memory up to this size, else are decoded when asked for
  bool strict = false;           // stop at the first bad image instead of leaving it out
  void declare(OptionSet& set);
};

enum class Split { train, test };

// Opens `source`: a folder of class folders, a CIFAR-10/100 binary folder, a folder of IDX files (with or without
// .gz), a folder written by `mcci poison`, or a name from dataset_aliases(). Class folders may lie below
// <source>/train and <source>/test; a source without splits gives the same samples for both.
// A bad image among many is left out, reported and counted (see DatasetOptions::strict).
// Errors: usage for an unknown source or format, data for a corrupt one (naming file and what was expected), io.
DatasetPtr open_dataset(const std::string& source, Split split, const DatasetOptions& options = {});

// Loads images by name, without labels, for prediction: the files themselves, and every image below the folders.
// All labels are 0. Fits them to `shape` with options.fit.
DatasetPtr open_images(const std::vector<std::filesystem::path>& paths, const ImageShape& shape,
                       const std::vector<std::string>& classes, const DatasetOptions& options = {});

// Short names for installed data sets, e.g. fashion-mnist (Debian: dataset-fashion-mnist), padded to 32x32.
struct DatasetAlias {
  std::string name;
  std::string description;
  std::filesystem::path path;
  std::string package;
  DatasetOptions options;
};
const std::vector<DatasetAlias>& dataset_aliases();

}  // namespace mcci
