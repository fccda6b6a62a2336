#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace mcci::report {

struct Image {
  std::int64_t width = 0, height = 0;
  std::string data_uri;  // "data:image/png;base64,..."
};

// The only way from a path in result.json to the bytes of a file. A result may come from anyone, so what it
// names is read only if it is a PNG file below the folder of the result.
class ImageFolder {
 public:
  static constexpr std::uint64_t max_image_bytes = std::uint64_t{4} << 20;
  static constexpr std::uint64_t max_total_bytes = std::uint64_t{64} << 20;
  static constexpr std::int64_t max_side = 4096;

  explicit ImageFolder(std::filesystem::path folder);

  // Errors: data for an absolute path, one that leaves the folder (by ".." or a link), no regular file, no
  // PNG, an image over the limits; io if it cannot be read.
  Image load(const std::string& relative_path);

 private:
  std::filesystem::path folder_;
  std::uint64_t total_bytes_ = 0;
};

std::string base64(const std::string& bytes);

}  // namespace mcci::report
