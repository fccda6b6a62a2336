#include <algorithm>
#include <cstring>
#include <utility>

#include <ATen/ops/empty.h>

#include "mcci/core/error.hpp"
#include "mcci/data/source.hpp"

namespace fs = std::filesystem;

namespace mcci {
namespace {

// The binary version of https://www.cs.toronto.edu/~kriz/cifar.html: records of label bytes, then 3072 bytes
// of pixels (the red plane, the green, the blue, row by row).
struct Layout {
  std::vector<std::string> train;
  std::vector<std::string> test;
  std::string class_names;
  std::size_t num_classes;
  std::size_t label_bytes;  // the last one counts: of CIFAR-100's coarse and fine label the fine one
};

constexpr std::size_t pixel_bytes = std::size_t{3} * 32 * 32;

const Layout& cifar10() {
  static const Layout layout = {
      {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
      {"test_batch.bin"},
      "batches.meta.txt",
      10,
      1};
  return layout;
}

const Layout& cifar100() {
  static const Layout layout = {{"train.bin"}, {"test.bin"}, "fine_label_names.txt", 100, 2};
  return layout;
}

bool holds_any(const fs::path& folder, const Layout& layout) {
  const auto exists = [&](const std::string& file) {
    std::error_code ignored;
    return fs::is_regular_file(folder / file, ignored);
  };
  return exists(layout.train.front()) || exists(layout.test.front());
}

DatasetPtr open(const OpenRequest& request, const Layout& layout) {
  const std::vector<std::string>& files = request.split == Split::train ? layout.train : layout.test;
  const std::size_t record = layout.label_bytes + pixel_bytes;
  std::vector<std::string> contents;
  std::size_t total = 0;
  std::uint64_t bytes_left = memory_limit_bytes(request.options);
  for (const std::string& file : files) {
    const fs::path path = request.folder / file;
    const std::string& content = contents.emplace_back(read_within(path, bytes_left));
    if (content.empty() || content.size() % record != 0) {
      throw Error(ErrorKind::data,
                  std::to_string(content.size()) + " bytes are no whole number of records of " +
                      std::to_string(record),
                  path.string(), "get the file again");
    }
    bytes_left -= content.size();
    total += content.size() / record;
  }

  PixelSource source;
  const auto count = static_cast<std::int64_t>(total);
  source.images = at::empty({count, 3, 32, 32}, at::kByte);
  source.labels = at::empty({count}, at::kLong);
  std::uint8_t* pixels = source.images.data_ptr<std::uint8_t>();
  std::int64_t* labels = source.labels.data_ptr<std::int64_t>();
  for (std::size_t f = 0; f < files.size(); ++f) {
    for (std::size_t r = 0; r < contents[f].size() / record; ++r) {
      const char* const sample = contents[f].data() + r * record;
      const auto label = static_cast<std::uint8_t>(sample[layout.label_bytes - 1]);
      if (label >= layout.num_classes) {
        throw Error(ErrorKind::data,
                    "label " + std::to_string(label) + " of record " + std::to_string(r) +
                        ", but there are " + std::to_string(layout.num_classes) + " classes",
                    (request.folder / files[f]).string());
      }
      *labels++ = label;
      std::memcpy(pixels, sample + layout.label_bytes, pixel_bytes);
      pixels += pixel_bytes;
      source.names.push_back(files[f] + "#" + std::to_string(r));
    }
  }

  const fs::path names = request.folder / layout.class_names;
  std::error_code ignored;
  source.classes = fs::exists(names, ignored) ? read_class_names(names, layout.num_classes)
                                              : numbered_classes(layout.num_classes);
  return load_pixels(std::move(source), request.options);
}

}  // namespace

bool is_cifar10_folder(const fs::path& folder) { return holds_any(folder, cifar10()); }
bool is_cifar100_folder(const fs::path& folder) { return holds_any(folder, cifar100()); }

DatasetPtr open_cifar10(const OpenRequest& request) { return open(request, cifar10()); }
DatasetPtr open_cifar100(const OpenRequest& request) { return open(request, cifar100()); }

}  // namespace mcci
