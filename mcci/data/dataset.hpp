#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

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
  // The images at `indices` ([B] int64): [B,C,H,W] uint8, RGB or grey, 0 .. 255. Safe to call from several
  // threads. Errors: data, naming the file, if an image cannot be decoded.
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
  std::string format = "auto";  // auto | mcci | cifar10 | cifar100 | idx | folder
  std::int64_t image_size = 0;  // pixels a side; 0: as the source has it (a folder of mixed sizes: 32)
  // resize: to the size directly, bilinear and antialiased; pad: centred on black, scaled down first (keeping
  // the aspect) if larger; crop: the largest centred part of the target's aspect, resized.
  std::string fit = "resize";
  std::int64_t channels = 0;    // 0: as the source has it; 1 or 3
  double memory_limit_gib = 4;  // fitted images stay in memory up to this size, else are made when asked for
  bool strict = false;          // stop at the first bad image instead of leaving it out
  void declare(OptionSet& set);
};

enum class Split { train, test };

// Opens `source`: a folder of class folders, a CIFAR-10/100 binary folder, a folder of IDX files (with or
// without .gz), a folder written by `mcci poison`, or a name from dataset_aliases(); see
// docs/formats/datasets.md. Class folders may lie below <source>/train and <source>/test or val, and then the
// classes are those of train; class folders without splits give the same samples for both. A bad image among
// many is left out, reported and counted (see DatasetOptions::strict). Errors: usage for an unknown source or
// format or for a split that the source lacks, data for a corrupt source (naming file and what was expected),
// io, interrupted.
DatasetPtr open_dataset(const std::string& source, Split split, const DatasetOptions& options = {});

// Loads images by name, without labels, for prediction: the files themselves, and every image below the
// folders. All labels are 0. Fits them to `shape` with options.fit; format, image_size and channels are not
// used. Errors: io for a missing file, data for a folder without images or if not one image can be read.
DatasetPtr open_images(const std::vector<std::filesystem::path>& paths, const ImageShape& shape,
                       const std::vector<std::string>& classes, const DatasetOptions& options = {});

// Short names for installed data sets, e.g. fashion-mnist (Debian: dataset-fashion-mnist), padded to 32x32.
struct DatasetAlias {
  std::string name;
  std::string description;
  std::filesystem::path path;        // empty: nothing to install, the images are drawn (procedural.hpp)
  std::string package;               // the Debian package that installs it
  DatasetOptions options;            // its usual image_size and fit
  std::vector<std::string> classes;  // names in order of the labels
};
const std::vector<DatasetAlias>& dataset_aliases();

// The options that open_dataset uses for `source`: if it is an alias and options.image_size is 0, the alias'
// size and, unless options.fit was changed from its default, the alias' fit. Worth recording with a trained
// model.
DatasetOptions with_alias_options(const std::string& source, DatasetOptions options);

}  // namespace mcci
