#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace mcci {

// An input file and its size, against which everything it claims is checked.
class SizedFile {
 public:
  // Errors: io if it cannot be opened or is no regular file.
  explicit SizedFile(const std::filesystem::path& path);

  std::uint64_t size() const noexcept { return size_; }
  const std::string& where() const noexcept { return where_; }  // for messages

  // Errors: io if there are fewer than `count` bytes from `position` on.
  void read(std::uint64_t position, void* bytes, std::uint64_t count);
  std::string read(std::uint64_t position, std::uint64_t count);

 private:
  std::string where_;
  std::ifstream stream_;
  std::uint64_t size_ = 0;
};

}  // namespace mcci
