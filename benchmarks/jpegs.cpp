#include "benchmarks/jpegs.hpp"

#include <cstdlib>
#include <filesystem>
#include <memory>

#include <ATen/ATen.h>
#include <turbojpeg.h>

#include "benchmarks/measurement.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/data/loader.hpp"

namespace fs = std::filesystem;

namespace mcci::benchmarks {
namespace {

constexpr std::int64_t height = 375;
constexpr std::int64_t width = 500;
constexpr std::size_t files = 512;

void check(int status) {
  if (status != 0) throw Error(ErrorKind::internal, std::string("libjpeg-turbo: ") + tjGetErrorStr());
}

// Removed when the process ends.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_((fs::temp_directory_path() / "mcci-bench-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) {
      throw Error(ErrorKind::io, "a temporary folder cannot be made", path_);
    }
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  fs::path path() const { return path_; }

 private:
  std::string path_;
};

fs::path jpeg_folder() {
  static const TemporaryFolder folder;
  static const bool written = [] {
    const std::vector<std::string> jpegs = jpeg_files(files);
    for (std::size_t i = 0; i < jpegs.size(); ++i) {
      const fs::path of_class = folder.path() / ("class" + std::to_string(i % 10));
      fs::create_directories(of_class);
      write_file_atomically(of_class / (std::to_string(i) + ".jpg"), jpegs[i]);
    }
    return true;
  }();
  static_cast<void>(written);
  return folder.path();
}

}  // namespace

std::vector<std::string> jpeg_files(std::size_t count) {
  const std::unique_ptr<void, int (*)(tjhandle)> encoder(tjInitCompress(), tjDestroy);
  std::vector<std::string> jpegs;
  for (std::size_t i = 0; i < count; ++i) {
    // Smooth shapes, texture and some noise.
    const auto layer = [&](std::int64_t cells) {
      return at::upsample_bicubic2d(at::rand({1, 3, cells, cells}), {height, width}, false);
    };
    const at::Tensor image = (0.6 * layer(6) + 0.3 * layer(60) + 0.1 * at::rand({1, 3, height, width}))
                                 .mul(255)
                                 .clamp(0, 255)
                                 .to(at::kByte)
                                 .squeeze(0)
                                 .permute({1, 2, 0})
                                 .contiguous();
    unsigned char* bytes = nullptr;
    unsigned long size = 0;
    check(tjCompress2(encoder.get(), image.data_ptr<std::uint8_t>(), width, 0, height, TJPF_RGB, &bytes,
                      &size, TJSAMP_420, 92, 0));
    jpegs.emplace_back(reinterpret_cast<const char*>(bytes), size);
    tjFree(bytes);
  }
  return jpegs;
}

DatasetPtr jpeg_dataset(std::int64_t size) {
  DatasetOptions options;
  options.image_size = size;
  options.channels = 3;
  options.memory_limit_gib = 0;
  return open_dataset(jpeg_folder().string(), Split::train, options);
}

Measurement jpeg_decoding() {
  const auto jpegs = std::make_shared<std::vector<std::string>>(jpeg_files(64));
  const auto pixels = std::make_shared<std::vector<unsigned char>>(3 * width * height);
  const std::shared_ptr<void> decoder(tjInitDecompress(), tjDestroy);
  return rate("images/s", static_cast<double>(jpegs->size()), [jpegs, pixels, decoder] {
    for (const std::string& jpeg : *jpegs) {
      check(tjDecompress2(decoder.get(), reinterpret_cast<const unsigned char*>(jpeg.data()), jpeg.size(),
                          pixels->data(), width, 0, height, TJPF_RGB, TJFLAG_ACCURATEDCT));
    }
  });
}

Measurement jpeg_batches(std::int64_t size, std::int64_t workers) {
  const DatasetPtr data = jpeg_dataset(size);
  LoaderOptions options;
  options.workers = workers;
  return rate("images/s", static_cast<double>(data->size()), [data, options] {
    Loader loader(data, epoch_order(data->size(), 0, 0), options, AugmentOptions{}, 0, 0);
    while (loader.next() != nullptr) {
    }
  });
}

}  // namespace mcci::benchmarks
