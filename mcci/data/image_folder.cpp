#include <algorithm>
#include <utility>

#include "mcci/core/error.hpp"
#include "mcci/data/source.hpp"
#include "mcci/imageio/image.hpp"

namespace fs = std::filesystem;

namespace mcci {
namespace {

constexpr const char* layout_hint = "images are expected in <folder>/<class>/ or <folder>/train/<class>/";

bool holds_images_directly(const fs::path& folder) {
  std::error_code code;
  for (fs::directory_iterator entry(folder, code); !code && entry != fs::directory_iterator();
       entry.increment(code)) {
    if (has_image_extension(entry->path())) return true;
  }
  return false;
}

// A folder `train` is a split if it holds class folders; "train" may as well be a class, among car and bus.
bool is_split(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_directory(folder, ignored) && !holds_images_directly(folder) && !subfolders(folder).empty();
}

// Where the class folders of the split lie.
fs::path split_folder(const fs::path& root, Split split) {
  const bool has_train = is_split(root / "train");
  const bool has_test = is_split(root / "test");
  const bool has_val = is_split(root / "val");
  if (!has_train && !has_test && !has_val) return root;
  if (split == Split::train && has_train) return root / "train";
  if (split == Split::test && has_test) return root / "test";
  if (split == Split::test && has_val) return root / "val";
  throw Error(ErrorKind::usage,
              split == Split::train ? "there is no training split (folder train)"
                                    : "there is no test split (folder test or val)",
              root.string(), "name the folder of the class folders itself");
}

}  // namespace

bool is_class_folders(const fs::path& folder) { return !subfolders(folder).empty(); }

DatasetPtr open_class_folders(const OpenRequest& request) {
  const fs::path folder = split_folder(request.folder, request.split);
  const std::vector<std::string> present = subfolders(folder);
  if (present.empty()) {
    throw Error(ErrorKind::data, "there are no class folders", folder.string(), layout_hint);
  }

  FileSource source;
  source.root = request.folder;
  const fs::path train = request.folder / "train";
  const bool follows_train = folder != request.folder && folder != train && is_split(train);
  source.classes = follows_train ? subfolders(train) : present;
  for (const std::string& name : present) {
    const auto found = std::lower_bound(source.classes.begin(), source.classes.end(), name);
    if (found == source.classes.end() || *found != name) {
      throw Error(ErrorKind::data, "the class '" + name + "' is not among those of " + train.string(),
                  (folder / name).string(), "remove it or add training images");
    }
    const std::vector<fs::path> images = images_below(folder / name);
    if (images.empty()) {
      throw Error(ErrorKind::data, "the class folder holds no images", (folder / name).string(),
                  std::string(image_extensions_hint) + "; add some or remove the folder");
    }
    for (const fs::path& image : images) {
      source.paths.push_back(image.lexically_relative(request.folder).generic_string());
      source.labels.push_back(found - source.classes.begin());
    }
  }

  const DatasetPtr data = load_files(std::move(source), std::nullopt, request.options);
  std::vector<bool> seen(data->classes().size(), false);
  const std::int64_t* const labels = data->labels().data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < data->size(); ++i) seen[static_cast<std::size_t>(labels[i])] = true;
  for (const std::string& name : present) {
    const auto label =
        std::lower_bound(data->classes().begin(), data->classes().end(), name) - data->classes().begin();
    if (!seen[static_cast<std::size_t>(label)]) {
      throw Error(ErrorKind::data, "not one image of the class can be read", (folder / name).string());
    }
  }
  return data;
}

}  // namespace mcci
