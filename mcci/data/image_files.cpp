#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/log.hpp"
#include "mcci/data/fit.hpp"
#include "mcci/data/source.hpp"
#include "mcci/imageio/image.hpp"
#include "mcci/runtime/workers.hpp"

namespace fs = std::filesystem;

namespace mcci {
namespace {

DecodeLimits limits_of_samples() {
  DecodeLimits limits;
  // As many pixels as a large photograph has: several are decoded at once.
  limits.max_pixels = 50'000'000;
  return limits;
}

// [1,C,H,W] uint8. Errors: data if the image is bad or not as declared, io.
at::Tensor decoded(const FileSource& source, std::string_view bytes, const fs::path& path,
                   std::int64_t channels, const DecodeLimits& limits) {
  Image image = decode_image(bytes, path.string(), channels, limits);
  if (source.declared && (image.height != source.declared->height || image.width != source.declared->width)) {
    throw Error(ErrorKind::data,
                "the image is " + std::to_string(image.height) + "x" + std::to_string(image.width) +
                    " pixels, not " + std::to_string(source.declared->height) + "x" +
                    std::to_string(source.declared->width) + " as declared",
                path.string());
  }
  const auto kept = std::make_shared<Image>(std::move(image));
  return at::from_blob(
             kept->pixels.data(), {1, kept->height, kept->width, kept->channels}, [kept](void*) {}, at::kByte)
      .permute({0, 3, 1, 2});
}

at::Tensor read_sample(const FileSource& source, std::size_t index, std::int64_t channels) {
  const fs::path path = source.root / source.paths[index];
  const DecodeLimits limits = limits_of_samples();
  return decoded(source, read_file(path, limits.max_file_bytes), path, channels, limits);
}

// Into `out` [1,C,H,W] uint8, of the fitter's shape. Errors: as above.
void read_fitted(const FileSource& source, std::size_t index, Fitter& fit_into, at::Tensor out) {
  const ImageShape& target = fit_into.shape();
  const fs::path path = source.root / source.paths[index];
  DecodeLimits limits = limits_of_samples();
  const std::string bytes = read_file(path, limits.max_file_bytes);
  if (!source.declared) {
    limits.target_height = target.height;
    limits.target_width = target.width;
    if (target.channels == 3) {
      const auto planes = decode_jpeg_planes(bytes, path.string(), limits);
      if (planes) return fit_into(*planes, std::move(out));
    }
  }
  fit_into(decoded(source, bytes, path, target.channels, limits), std::move(out));
}

// What is wrong with each sample; empty: nothing.
using Faults = std::vector<std::string>;

// Calls visit(index) for every sample. A data error is a fault of that sample, any other ends the reading.
Faults visit_samples(const FileSource& source, const std::string& title, const DatasetOptions& options,
                     const std::function<void(std::size_t)>& visit) {
  Faults faults(source.paths.size());
  parallel_each(static_cast<std::int64_t>(source.paths.size()), {title}, [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    try {
      visit(index);
    } catch (const Error& error) {
      if (options.strict || error.kind() != ErrorKind::data) throw;
      faults[index] = error.what();
    }
  });
  return faults;
}

// Removes faulty samples from the source and says so. Returns the positions of those kept.
std::vector<std::int64_t> leave_out(FileSource& source, const Faults& faults) {
  const std::size_t most_reported = 10;
  std::vector<std::int64_t> kept;
  std::vector<std::string> paths;
  std::vector<std::int64_t> labels;
  std::size_t bad = 0;
  for (std::size_t i = 0; i < faults.size(); ++i) {
    if (!faults[i].empty()) {
      if (bad++ < most_reported) log_warning("left out: " + faults[i]);
      continue;
    }
    kept.push_back(static_cast<std::int64_t>(i));
    paths.push_back(std::move(source.paths[i]));
    labels.push_back(source.labels[i]);
  }
  if (kept.empty()) {
    const auto first =
        std::find_if(faults.begin(), faults.end(), [](const auto& fault) { return !fault.empty(); });
    throw Error(ErrorKind::data,
                "not one of " + std::to_string(faults.size()) + " images can be read" +
                    (first == faults.end() ? "" : "; the first: " + *first),
                source.root.string());
  }
  source.paths = std::move(paths);
  source.labels = std::move(labels);
  if (bad > 0) {
    log_warning(std::to_string(bad) + " of " + std::to_string(faults.size()) +
                " images are bad and left out");
  }
  return kept;
}

at::Tensor to_tensor(const std::vector<std::int64_t>& numbers) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(numbers.size())}, at::kLong);
  std::copy(numbers.begin(), numbers.end(), tensor.data_ptr<std::int64_t>());
  return tensor;
}

// Decodes when asked.
class FileDataset : public Dataset {
 public:
  FileDataset(FileSource source, const ImageShape& shape, std::string fit)
      : source_(std::move(source)), labels_(to_tensor(source_.labels)), shape_(shape), fit_(std::move(fit)) {}

  const ImageShape& shape() const override { return shape_; }
  const std::vector<std::string>& classes() const override { return source_.classes; }
  const at::Tensor& labels() const override { return labels_; }
  std::string name(std::int64_t index) const override {
    return source_.paths.at(static_cast<std::size_t>(index));
  }

  at::Tensor images(const at::Tensor& indices) const override {
    const at::Tensor checked = checked_indices(indices, size());
    const std::int64_t* const index = checked.data_ptr<std::int64_t>();
    at::Tensor out = at::empty({checked.size(0), shape_.channels, shape_.height, shape_.width}, at::kByte);
    Fitter fit_into(shape_, fit_);
    for (std::int64_t b = 0; b < checked.size(0); ++b) {
      read_fitted(source_, static_cast<std::size_t>(index[b]), fit_into, out.narrow(0, b, 1));
    }
    return out;
  }

 private:
  FileSource source_;
  at::Tensor labels_;
  ImageShape shape_;
  std::string fit_;
};

// The shapes of the source's images; bad ones are left out.
std::vector<ImageShape> look_at(FileSource& source, const DatasetOptions& options) {
  std::vector<ImageShape> shapes(source.paths.size());
  const Faults faults = visit_samples(source, "looking at images", options, [&](std::size_t i) {
    shapes[i] = shape_of(read_sample(source, i, options.channels));
  });
  std::vector<ImageShape> kept;
  for (const std::int64_t i : leave_out(source, faults)) kept.push_back(shapes[static_cast<std::size_t>(i)]);
  return kept;
}

// One shape for all: grey only if all are grey, and 32x32 unless all are of one size or the options name it.
ImageShape common_shape(const std::vector<ImageShape>& shapes, const DatasetOptions& options) {
  ImageShape common = shapes.front();
  bool mixed = false;
  for (const ImageShape& shape : shapes) {
    mixed = mixed || shape.height != common.height || shape.width != common.width;
    common.channels = std::max(common.channels, shape.channels);
  }
  if (mixed && options.image_size == 0) {
    common.height = common.width = 32;
    log_info("the images are of several sizes: they are fitted to 32x32 (image-size says otherwise)");
  }
  return fitted_shape(common, options);
}

[[noreturn]] void throw_unreadable(const fs::path& folder, const std::error_code& code) {
  throw Error(ErrorKind::io, "the folder cannot be read (" + code.message() + ")", folder.string());
}

bool is_hidden(const fs::path& path) { return path.filename().string().rfind('.', 0) == 0; }

}  // namespace

DatasetPtr load_files(FileSource source, std::optional<ImageShape> target, const DatasetOptions& options) {
  bool looked_at = false;
  if (!target) {
    looked_at = options.image_size == 0 || options.channels == 0;
    target =
        looked_at ? common_shape(look_at(source, options), options) : fitted_shape(ImageShape{}, options);
  }
  const auto count = static_cast<std::int64_t>(source.paths.size());
  if (!fits_in_memory(count, *target, options)) {
    log_info("the data set is larger than memory-limit-gib: its images are decoded when asked for");
    if (!looked_at) look_at(source, options);
    return std::make_shared<FileDataset>(std::move(source), *target, options.fit);
  }
  at::Tensor images = at::empty({count, target->channels, target->height, target->width}, at::kByte);
  const Faults faults = visit_samples(source, "loading images", options, [&](std::size_t i) {
    Fitter fit_into(*target, options.fit);
    read_fitted(source, i, fit_into, images.narrow(0, static_cast<std::int64_t>(i), 1));
  });
  const std::vector<std::int64_t> kept = leave_out(source, faults);
  if (static_cast<std::int64_t>(kept.size()) < count) images = images.index_select(0, to_tensor(kept));
  return make_memory_dataset(std::move(images), to_tensor(source.labels), std::move(source.classes),
                             std::move(source.paths));
}

std::vector<fs::path> images_below(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code code;
  fs::recursive_directory_iterator entry(folder, code);
  while (!code && entry != fs::recursive_directory_iterator()) {
    const fs::path& path = entry->path();
    if (is_hidden(path)) {
      entry.disable_recursion_pending();
    } else {
      std::error_code broken_link;
      if (has_image_extension(path) && entry->is_regular_file(broken_link)) found.push_back(path);
    }
    entry.increment(code);
  }
  if (code) throw_unreadable(folder, code);
  std::sort(found.begin(), found.end(),
            [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  return found;
}

std::vector<std::string> subfolders(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code code;
  fs::directory_iterator entry(folder, code);
  while (!code && entry != fs::directory_iterator()) {
    std::error_code broken_link;
    if (!is_hidden(entry->path()) && entry->is_directory(broken_link)) {
      names.push_back(entry->path().filename().string());
    }
    entry.increment(code);
  }
  if (code) throw_unreadable(folder, code);
  std::sort(names.begin(), names.end());
  return names;
}

DatasetPtr open_images(const std::vector<fs::path>& paths, const ImageShape& shape,
                       const std::vector<std::string>& classes, const DatasetOptions& options) {
  check(options);
  FileSource source;
  source.classes = classes;
  for (const fs::path& path : paths) {
    std::error_code code;
    const fs::file_status status = fs::status(path, code);
    if (!fs::exists(status)) {
      throw Error(ErrorKind::io, "there is no such file or folder", path.string());
    }
    if (!fs::is_directory(status)) {
      source.paths.push_back(path.string());
      continue;
    }
    const std::vector<fs::path> below = images_below(path);
    if (below.empty()) {
      throw Error(ErrorKind::data, "the folder holds no images", path.string(), image_extensions_hint);
    }
    for (const fs::path& file : below) source.paths.push_back(file.string());
  }
  source.labels.assign(source.paths.size(), 0);
  return load_files(std::move(source), shape, options);
}

}  // namespace mcci
