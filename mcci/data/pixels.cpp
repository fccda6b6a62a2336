#include <algorithm>
#include <utility>

#include <ATen/ops/empty.h>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/log.hpp"
#include "mcci/data/fit.hpp"
#include "mcci/data/source.hpp"

namespace fs = std::filesystem;

namespace mcci {
namespace {

// Holds the source's pixels and fits them when asked: enlarged, the whole set would take too much memory.
class FittedPixels : public Dataset {
 public:
  FittedPixels(PixelSource source, const ImageShape& shape, std::string fit)
      : source_(make_memory_dataset(std::move(source.images), std::move(source.labels),
                                    std::move(source.classes), std::move(source.names))),
        shape_(shape),
        fit_(std::move(fit)) {}

  const ImageShape& shape() const override { return shape_; }
  const std::vector<std::string>& classes() const override { return source_->classes(); }
  const at::Tensor& labels() const override { return source_->labels(); }
  std::string name(std::int64_t index) const override { return source_->name(index); }
  at::Tensor images(const at::Tensor& indices) const override {
    return fit_images(source_->images(indices), shape_, fit_);
  }

 private:
  DatasetPtr source_;
  ImageShape shape_;
  std::string fit_;
};

}  // namespace

DatasetPtr load_pixels(PixelSource source, const DatasetOptions& options) {
  const ImageShape shape = fitted_shape(shape_of(source.images), options);
  const std::int64_t count = source.images.size(0);
  if (shape != shape_of(source.images)) {
    if (!fits_in_memory(count, shape, options)) {
      log_info("the data set is larger than memory-limit-gib: its images are fitted when asked for");
      return std::make_shared<FittedPixels>(std::move(source), shape, options.fit);
    }
    at::Tensor fitted = at::empty({count, shape.channels, shape.height, shape.width}, at::kByte);
    const std::int64_t step = 1024;
    for (std::int64_t i = 0; i < count; i += step) {
      const std::int64_t n = std::min(step, count - i);
      fitted.narrow(0, i, n).copy_(fit_images(source.images.narrow(0, i, n), shape, options.fit));
    }
    source.images = std::move(fitted);
  }
  return make_memory_dataset(std::move(source.images), std::move(source.labels), std::move(source.classes),
                             std::move(source.names));
}

std::uint64_t memory_limit_bytes(const DatasetOptions& options) {
  const double most = static_cast<double>(std::uint64_t{1} << 62);
  return static_cast<std::uint64_t>(std::min(most, options.memory_limit_gib * static_cast<double>(1U << 30)));
}

std::string read_within(const fs::path& path, std::uint64_t limit_bytes) {
  std::error_code ignored;
  const std::uintmax_t size = fs::file_size(path, ignored);
  if (!ignored && size > limit_bytes) {
    throw Error(ErrorKind::usage,
                std::to_string(size) + " bytes are more than the " + std::to_string(limit_bytes) +
                    " that memory-limit-gib leaves",
                path.string(), "raise memory-limit-gib");
  }
  return read_file(path, limit_bytes);
}

}  // namespace mcci
