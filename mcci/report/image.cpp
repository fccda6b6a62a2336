#include "mcci/report/image.hpp"

#include <algorithm>
#include <string_view>
#include <system_error>
#include <utility>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/report/format.hpp"

namespace mcci::report {
namespace {

namespace fs = std::filesystem;

std::uint32_t big_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

// Every PNG file begins with its signature and the IHDR chunk: length, name, width, height.
void read_size(const std::string& bytes, const std::string& where, Image& image) {
  constexpr std::string_view start("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  constexpr std::size_t header = 24;
  if (bytes.size() < header || bytes.compare(0, start.size(), start) != 0) {
    throw Error(ErrorKind::data, "the figure is no PNG file", where);
  }
  image.width = big_endian(std::string_view(bytes).substr(16, 4));
  image.height = big_endian(std::string_view(bytes).substr(20, 4));
  const auto [low, high] = std::minmax(image.width, image.height);
  if (low < 1 || high > ImageFolder::max_side) {
    throw Error(
        ErrorKind::data,
        "the figure has " + std::to_string(image.width) + "x" + std::to_string(image.height) + " pixels",
        where, "the limit is " + std::to_string(ImageFolder::max_side) + " a side");
  }
}

}  // namespace

ImageFolder::ImageFolder(fs::path folder) : folder_(std::move(folder)) {
  if (folder_.empty()) folder_ = ".";
}

Image ImageFolder::load(const std::string& relative_path) {
  const fs::path relative(relative_path);
  const fs::path path = folder_ / relative;
  const std::string where = plain(path.string());
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::data, what, where, "figures lie in the folder of the result");
  };
  if (relative_path.empty() || relative_path.find('\0') != std::string::npos)
    refuse("the figure has no name");
  if (relative.is_absolute()) refuse("the figure's path is absolute");
  if (std::find(relative.begin(), relative.end(), "..") != relative.end()) {
    refuse("the figure's path leaves the folder");
  }
  std::error_code error;
  const fs::path root = fs::canonical(folder_, error);
  if (error) throw Error(ErrorKind::io, error.message(), folder_.string());
  const fs::path target = fs::canonical(path, error);
  if (error) throw Error(ErrorKind::io, "the figure cannot be read: " + error.message(), where);
  if (std::mismatch(root.begin(), root.end(), target.begin(), target.end()).first != root.end()) {
    refuse("the figure is a link out of the folder");
  }
  if (!fs::is_regular_file(target, error)) refuse("the figure is not a file");

  const std::string bytes = read_file(target, max_image_bytes);
  total_bytes_ += bytes.size();
  if (total_bytes_ > max_total_bytes) {
    throw Error(ErrorKind::data, "the figures are too large", where,
                "the limit is " + std::to_string(max_total_bytes >> 20) + " MiB in all");
  }
  Image image;
  read_size(bytes, where, image);
  image.data_uri = "data:image/png;base64," + base64(bytes);
  return image;
}

std::string base64(const std::string& bytes) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  result.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t taken = std::min<std::size_t>(3, bytes.size() - i);
    const std::uint32_t group = big_endian(std::string_view(bytes).substr(i, taken)) << 8 * (3 - taken);
    for (std::size_t letter = 0; letter < 4; ++letter) {
      result += letter <= taken ? alphabet[group >> 6 * (3 - letter) & 63] : '=';
    }
  }
  return result;
}

}  // namespace mcci::report
