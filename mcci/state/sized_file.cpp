#include "mcci/state/sized_file.hpp"

#include <cerrno>
#include <system_error>

#include "mcci/core/error.hpp"

namespace mcci {

SizedFile::SizedFile(const std::filesystem::path& path) : where_(path.string()) {
  std::error_code error;
  const bool regular = std::filesystem::is_regular_file(path, error);
  if (regular) size_ = std::filesystem::file_size(path, error);
  if (regular && !error) stream_.open(path, std::ios::binary);
  if (!regular || error || !stream_) {
    const std::string reason = error     ? error.message()
                               : regular ? std::generic_category().message(errno)
                                         : "no file";
    throw Error(ErrorKind::io, "cannot be read (" + reason + ")", where_);
  }
}

void SizedFile::read(std::uint64_t position, void* bytes, std::uint64_t count) {
  if (count == 0) return;
  stream_.clear();
  stream_.seekg(static_cast<std::streamoff>(position));
  stream_.read(static_cast<char*>(bytes), static_cast<std::streamsize>(count));
  if (!stream_) throw Error(ErrorKind::io, "reading failed at byte " + std::to_string(position), where_);
}

std::string SizedFile::read(std::uint64_t position, std::uint64_t count) {
  std::string bytes(count, '\0');
  read(position, bytes.data(), count);
  return bytes;
}

}  // namespace mcci
