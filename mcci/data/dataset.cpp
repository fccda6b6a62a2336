#include "mcci/data/dataset.hpp"

#include <algorithm>
#include <sstream>
#include <utility>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/registry.hpp"
#include "mcci/data/fit.hpp"
#include "mcci/data/procedural.hpp"
#include "mcci/data/scene.hpp"
#include "mcci/data/source.hpp"

namespace fs = std::filesystem;

namespace mcci {
namespace {

class MemoryDataset : public Dataset {
 public:
  MemoryDataset(at::Tensor images, at::Tensor labels, std::vector<std::string> classes,
                std::vector<std::string> names)
      : images_(std::move(images)),
        labels_(std::move(labels)),
        classes_(std::move(classes)),
        names_(std::move(names)),
        shape_(shape_of(images_)) {}

  const ImageShape& shape() const override { return shape_; }
  const std::vector<std::string>& classes() const override { return classes_; }
  const at::Tensor& labels() const override { return labels_; }
  std::string name(std::int64_t index) const override {
    return names_.empty() ? "#" + std::to_string(index) : names_.at(static_cast<std::size_t>(index));
  }
  at::Tensor images(const at::Tensor& indices) const override {
    return images_.index_select(0, checked_indices(indices, size()));
  }

 private:
  at::Tensor images_;
  at::Tensor labels_;
  std::vector<std::string> classes_;
  std::vector<std::string> names_;
  ImageShape shape_;
};

struct Format {
  bool (*recognises)(const fs::path& folder);
  DatasetPtr (*open)(const OpenRequest& request);
};

// In the order in which `auto` asks them: the most particular first.
const Registry<Format>& formats() {
  static const Registry<Format> table(
      "data set format",
      {{"mcci",
        "dataset.json, labels.csv and images, as mcci poison writes them",
        {is_mcci_folder, open_mcci_folder}},
       {"cifar10", "data_batch_1.bin ... test_batch.bin", {is_cifar10_folder, open_cifar10}},
       {"cifar100", "train.bin, test.bin", {is_cifar100_folder, open_cifar100}},
       {"idx", "train-images-idx3-ubyte ..., plain or .gz", {is_idx_folder, open_idx}},
       {"folder", "one folder per class", {is_class_folders, open_class_folders}}});
  return table;
}

std::vector<std::string> format_names() {
  std::vector<std::string> names = {"auto"};
  for (const std::string& name : formats().names()) names.push_back(name);
  return names;
}

const Format& find_format(const fs::path& folder, const std::string& name) {
  if (name != "auto") return formats().at(name);
  std::string known;
  for (const auto& entry : formats().entries()) {
    if (entry.value.recognises(folder)) return entry.value;
    known += (known.empty() ? "" : "; ") + entry.name + ": " + entry.description;
  }
  throw Error(ErrorKind::usage, "the folder holds no data set that mcci knows", folder.string(), known);
}

const DatasetAlias* find_alias(const std::string& name) {
  const auto& aliases = dataset_aliases();
  const auto found =
      std::find_if(aliases.begin(), aliases.end(), [&](const auto& alias) { return alias.name == name; });
  return found == aliases.end() ? nullptr : &*found;
}

void check_folder(const std::string& source) {
  std::error_code code;
  const fs::file_status status = fs::status(source, code);
  if (status.type() == fs::file_type::not_found) {
    std::vector<std::string> names;
    for (const DatasetAlias& alias : dataset_aliases()) names.push_back(alias.name);
    throw Error(ErrorKind::usage, "there is no such folder or data set", source,
                "name a folder, or use " + candidates(source, names));
  }
  if (code) throw Error(ErrorKind::io, "the folder cannot be read (" + code.message() + ")", source);
  if (!fs::is_directory(status)) {
    throw Error(ErrorKind::usage, "this is a file, and a data set is a folder", source, "name the folder");
  }
}

}  // namespace

DatasetPtr make_memory_dataset(at::Tensor images, at::Tensor labels, std::vector<std::string> classes,
                               std::vector<std::string> names) {
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw Error(ErrorKind::data, what, "data set in memory");
  };
  require(images.defined() && images.dim() == 4 && images.scalar_type() == at::kByte,
          "the images are not [N,C,H,W] uint8");
  require(images.size(1) == 1 || images.size(1) == 3, "the images have neither 1 nor 3 channels");
  require(labels.defined() && labels.dim() == 1 && labels.scalar_type() == at::kLong,
          "the labels are not [N] int64");
  const std::int64_t count = images.size(0);
  require(labels.size(0) == count,
          std::to_string(count) + " images, but " + std::to_string(labels.size(0)) + " labels");
  require(names.empty() || static_cast<std::int64_t>(names.size()) == count,
          std::to_string(count) + " images, but " + std::to_string(names.size()) + " names");
  require(!classes.empty(), "there are no classes");
  labels = labels.contiguous();
  const std::int64_t* const label = labels.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    require(label[i] >= 0 && label[i] < static_cast<std::int64_t>(classes.size()),
            "label " + std::to_string(label[i]) + " of sample " + std::to_string(i) + ", but there are " +
                std::to_string(classes.size()) + " classes");
  }
  return std::make_shared<MemoryDataset>(images.contiguous(), std::move(labels), std::move(classes),
                                         std::move(names));
}

void DatasetOptions::declare(OptionSet& set) {
  set.add("data-format", format, "format of the data set", format_names());
  set.add("image-size", image_size, "pixels a side that images are fitted to; 0: as the source has it",
          {0, max_side});
  set.add("fit", fit, "how images are fitted: resize to the square, pad with black, or crop the middle",
          fit_names());
  set.add("channels", channels, "1: grey, 3: RGB, 0: as the source has it", {0, 3});
  set.add("memory-limit-gib", memory_limit_gib,
          "GiB of images kept in memory; a larger set is decoded when asked for", {0, 1 << 20});
  set.add("strict", strict, "stop at the first bad image instead of leaving it out");
}

const std::vector<DatasetAlias>& dataset_aliases() {
  static const std::vector<DatasetAlias> aliases = [] {
    DatasetAlias fashion;
    fashion.name = "fashion-mnist";
    fashion.description = "70,000 grey images of clothes, 28x28 padded to 32x32";
    fashion.path = "/usr/share/datasets/fashion-mnist";
    fashion.package = "dataset-fashion-mnist";
    fashion.options.image_size = 32;
    fashion.options.fit = "pad";
    fashion.classes = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                       "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
    DatasetAlias procedural;
    procedural.name = "procedural";
    procedural.description = "57,600 colour images of textured figures among clutter, drawn at any size";
    procedural.options.image_size = 32;
    procedural.classes = scene_classes();
    return std::vector<DatasetAlias>{fashion, procedural};
  }();
  return aliases;
}

DatasetOptions with_alias_options(const std::string& source, DatasetOptions options) {
  const DatasetAlias* const alias = find_alias(source);
  if (alias == nullptr || options.image_size != 0) return options;
  options.image_size = alias->options.image_size;
  if (options.fit == DatasetOptions().fit) options.fit = alias->options.fit;
  return options;
}

DatasetPtr open_dataset(const std::string& source, Split split, const DatasetOptions& options) {
  OpenRequest request{source, split, with_alias_options(source, options), {}};
  check(request.options);
  if (const DatasetAlias* const alias = find_alias(source)) {
    if (alias->path.empty()) {
      if (options.format != "auto") {
        throw Error(ErrorKind::usage, "the data set " + alias->name + " is drawn and has no format", "",
                    "leave data-format out; a folder of this name is ./" + alias->name);
      }
      return make_procedural(split, request.options);
    }
    std::error_code ignored;
    if (!fs::is_directory(alias->path, ignored)) {
      throw Error(ErrorKind::io, "the data set " + alias->name + " is not installed", alias->path.string(),
                  "install the Debian package " + alias->package);
    }
    request.folder = alias->path;
    request.classes = alias->classes;
  } else {
    check_folder(source);
  }
  return find_format(request.folder, options.format).open(request);
}

std::vector<std::string> read_class_names(const fs::path& path, std::size_t count) {
  const std::uint64_t max_bytes = std::uint64_t{1} << 20;
  std::istringstream lines(read_file(path, max_bytes));
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    line.erase(line.find_last_not_of(" \t\r") + 1);
    names.push_back(line);
  }
  while (!names.empty() && names.back().empty()) names.pop_back();
  for (auto name = names.begin(); name != names.end(); ++name) {
    if (name->empty() || std::find(names.begin(), name, *name) != name) {
      throw Error(ErrorKind::data,
                  name->empty() ? "the name is empty" : "the class '" + *name + "' is there twice",
                  path.string() + ":" + std::to_string(name - names.begin() + 1));
    }
  }
  if (names.empty() || (count > 0 && names.size() != count)) {
    throw Error(ErrorKind::data,
                std::to_string(names.size()) + " class names" +
                    (count > 0 ? ", where " + std::to_string(count) + " are expected" : ""),
                path.string(), "write one per line");
  }
  return names;
}

std::vector<std::string> numbered_classes(std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

at::Tensor checked_indices(const at::Tensor& indices, std::int64_t size) {
  if (indices.dim() != 1 || indices.scalar_type() != at::kLong) {
    throw Error(ErrorKind::internal, "indices of samples are not [B] int64");
  }
  const at::Tensor checked = indices.contiguous();
  const std::int64_t* const index = checked.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < checked.size(0); ++i) {
    if (index[i] < 0 || index[i] >= size) {
      throw Error(ErrorKind::internal, "there is no sample " + std::to_string(index[i]) +
                                           " in a data set of " + std::to_string(size));
    }
  }
  return checked;
}

}  // namespace mcci
