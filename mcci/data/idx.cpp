#include <algorithm>
#include <array>
#include <optional>

#include <ATen/ops/empty.h>
#include <zlib.h>

#include "mcci/core/error.hpp"
#include "mcci/data/fit.hpp"
#include "mcci/data/source.hpp"

namespace fs = std::filesystem;

namespace mcci {
namespace {

// The content of a plain or gzip-compressed file, taken piece by piece: a size that the content declares can
// be judged before memory is allocated for it, and no more is ever unpacked than was asked for.
class ContentStream {
 public:
  ContentStream(const fs::path& path, std::uint64_t max_bytes)
      : name_(path.string()), bytes_(read_within(path, max_bytes)) {
    compressed_ = bytes_.size() >= 2 && bytes_[0] == '\x1f' && bytes_[1] == '\x8b';
    if (!compressed_) return;
    const int gzip_wrapper = 16;
    if (inflateInit2(&zlib_, MAX_WBITS + gzip_wrapper) != Z_OK) {
      throw Error(ErrorKind::internal, "zlib cannot start", name_);
    }
  }
  ~ContentStream() {
    if (compressed_) inflateEnd(&zlib_);
  }
  ContentStream(const ContentStream&) = delete;
  ContentStream& operator=(const ContentStream&) = delete;

  // An upper bound of what can follow; deflate cannot pack more than 1032 bytes into one.
  std::uint64_t most_bytes_left() const {
    return compressed_ ? bytes_.size() * std::uint64_t{1032} : bytes_.size() - position_;
  }

  void take(std::uint8_t* to, std::uint64_t count) {
    if (give(to, count) != count) {
      throw Error(ErrorKind::data, "the file ends too early", name_, "get it again");
    }
  }

  // Errors: data if anything follows.
  void expect_end() {
    std::uint8_t byte = 0;
    const bool more = give(&byte, 1) != 0;
    if (more || position_ != bytes_.size()) {
      throw Error(ErrorKind::data, "data follow the end that the header declares", name_,
                  "get the file again");
    }
  }

 private:
  // Fewer than `count` at the end of the content only.
  std::uint64_t give(std::uint8_t* to, std::uint64_t count) {
    if (compressed_) return inflate_into(to, count);
    const std::uint64_t n = std::min<std::uint64_t>(count, bytes_.size() - position_);
    std::copy_n(bytes_.data() + position_, n, to);
    position_ += n;
    return n;
  }

  std::uint64_t inflate_into(std::uint8_t* to, std::uint64_t count) {
    const std::uint64_t most = std::uint64_t{1} << 30;  // zlib counts in 32 bits
    std::uint64_t done = 0;
    while (done < count && !ended_) {
      const std::uint64_t in = std::min<std::uint64_t>(most, bytes_.size() - position_);
      const std::uint64_t out = std::min(most, count - done);
      zlib_.next_in = reinterpret_cast<Bytef*>(bytes_.data() + position_);
      zlib_.avail_in = static_cast<uInt>(in);
      zlib_.next_out = to + done;
      zlib_.avail_out = static_cast<uInt>(out);
      const int status = inflate(&zlib_, Z_NO_FLUSH);
      position_ += in - zlib_.avail_in;
      done += out - zlib_.avail_out;
      ended_ = status == Z_STREAM_END;
      if (status == Z_BUF_ERROR) {
        throw Error(ErrorKind::data, "the compressed file is truncated", name_, "get it again");
      }
      if (status != Z_OK && !ended_) {
        throw Error(ErrorKind::data,
                    std::string("the compressed file is corrupt (") + (zlib_.msg ? zlib_.msg : "zlib") + ")",
                    name_, "get it again");
      }
    }
    return done;
  }

  std::string name_;
  std::string bytes_;
  std::uint64_t position_ = 0;
  bool compressed_ = false;
  bool ended_ = false;
  z_stream zlib_{};
};

// The usual names, with and without .gz; the plain file first.
std::optional<fs::path> find_file(const fs::path& folder, const std::string& split, const std::string& what,
                                  const std::string& dimensions) {
  for (const char* separator : {"-", "."}) {
    const fs::path plain = folder / (split + "-" + what + separator + dimensions + "-ubyte");
    for (const char* suffix : {"", ".gz"}) {
      const fs::path path = plain.string() + suffix;
      std::error_code ignored;
      if (fs::is_regular_file(path, ignored)) return path;
    }
  }
  return std::nullopt;
}

std::optional<fs::path> find_images(const fs::path& folder, const std::string& split) {
  return find_file(folder, split, "images", "idx3");
}
std::optional<fs::path> find_labels(const fs::path& folder, const std::string& split) {
  return find_file(folder, split, "labels", "idx1");
}

template <std::size_t Dimensions>
std::array<std::int64_t, Dimensions> read_header(ContentStream& stream, const std::string& name) {
  std::array<std::uint8_t, 4 + 4 * Dimensions> bytes{};
  stream.take(bytes.data(), bytes.size());
  if (bytes[0] != 0 || bytes[1] != 0) {
    throw Error(ErrorKind::data, "this is no IDX file (its first two bytes are not 0)", name);
  }
  const int unsigned_byte = 0x08;
  if (bytes[2] != unsigned_byte || bytes[3] != Dimensions) {
    throw Error(ErrorKind::data,
                "an IDX file of type " + std::to_string(bytes[2]) + " with " + std::to_string(bytes[3]) +
                    " dimensions, where type 8 (unsigned byte) with " + std::to_string(Dimensions) +
                    " is expected",
                name);
  }
  std::array<std::int64_t, Dimensions> sizes{};
  for (std::size_t d = 0; d < Dimensions; ++d) {
    for (std::size_t i = 0; i < 4; ++i) sizes[d] = sizes[d] * 256 + bytes[4 + 4 * d + i];
  }
  return sizes;
}

void check_size(std::uint64_t declared, const ContentStream& stream, const std::string& name,
                const DatasetOptions& options) {
  if (declared > stream.most_bytes_left()) {
    throw Error(ErrorKind::data,
                "the header declares " + std::to_string(declared) + " bytes, more than the file holds", name,
                "get the file again");
  }
  if (declared > memory_limit_bytes(options)) {
    throw Error(ErrorKind::usage,
                "the images take " + std::to_string(declared) + " bytes, more than memory-limit-gib allows",
                name, "raise memory-limit-gib");
  }
}

at::Tensor read_images(const fs::path& path, const DatasetOptions& options) {
  const std::string name = path.string();
  ContentStream stream(path, memory_limit_bytes(options));
  const auto [count, height, width] = read_header<3>(stream, name);
  if (count < 1 || height < 1 || width < 1 || height > max_side || width > max_side) {
    throw Error(ErrorKind::data,
                "the header declares " + std::to_string(count) + " images of " + std::to_string(height) +
                    "x" + std::to_string(width) + " pixels",
                name, "at least one image, with sides of 1 .. " + std::to_string(max_side) + ", is expected");
  }
  const std::uint64_t bytes = static_cast<std::uint64_t>(count * height * width);
  check_size(bytes, stream, name, options);
  at::Tensor images = at::empty({count, 1, height, width}, at::kByte);
  stream.take(images.data_ptr<std::uint8_t>(), bytes);
  stream.expect_end();
  return images;
}

at::Tensor read_labels(const fs::path& path, std::size_t num_classes, const DatasetOptions& options) {
  const std::string name = path.string();
  ContentStream stream(path, memory_limit_bytes(options));
  const auto [count] = read_header<1>(stream, name);
  check_size(static_cast<std::uint64_t>(count), stream, name, options);
  const at::Tensor bytes = at::empty({count}, at::kByte);
  stream.take(bytes.data_ptr<std::uint8_t>(), static_cast<std::uint64_t>(count));
  stream.expect_end();
  const std::uint8_t* const label = bytes.data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < count; ++i) {
    if (label[i] >= num_classes) {
      throw Error(ErrorKind::data,
                  "label " + std::to_string(label[i]) + " of sample " + std::to_string(i) +
                      ", but there are " + std::to_string(num_classes) + " classes",
                  name, "list the classes, one name per line, in a file classes.txt beside it");
    }
  }
  return bytes.to(at::kLong);
}

std::vector<std::string> class_names(const OpenRequest& request) {
  const fs::path path = request.folder / "classes.txt";
  std::error_code ignored;
  if (fs::exists(path, ignored)) return read_class_names(path);
  return request.classes.empty() ? numbered_classes(10) : request.classes;
}

}  // namespace

bool is_idx_folder(const fs::path& folder) {
  return find_images(folder, "train").has_value() || find_images(folder, "t10k").has_value();
}

DatasetPtr open_idx(const OpenRequest& request) {
  const std::string split = request.split == Split::train ? "train" : "t10k";
  const std::optional<fs::path> images_path = find_images(request.folder, split);
  const std::optional<fs::path> labels_path = find_labels(request.folder, split);
  if (!images_path || !labels_path) {
    const std::string missing = images_path ? "-labels-idx1-ubyte" : "-images-idx3-ubyte";
    throw Error(ErrorKind::io, "there is no file " + split + missing + " (plain or .gz)",
                request.folder.string());
  }
  PixelSource source;
  source.classes = class_names(request);
  source.labels = read_labels(*labels_path, source.classes.size(), request.options);
  source.images = read_images(*images_path, request.options);
  if (source.images.size(0) != source.labels.size(0)) {
    throw Error(ErrorKind::data,
                std::to_string(source.images.size(0)) + " images, but " + labels_path->filename().string() +
                    " holds " + std::to_string(source.labels.size(0)) + " labels",
                images_path->string());
  }
  const std::string file = images_path->filename().string();
  for (std::int64_t i = 0; i < source.images.size(0); ++i) {
    source.names.push_back(file + "#" + std::to_string(i));
  }
  return load_pixels(std::move(source), request.options);
}

}  // namespace mcci
