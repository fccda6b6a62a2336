#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

namespace mcci {

// The whole file.
// Errors: io if it cannot be read, data if it is larger than `max_bytes` (checked before allocating).
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes);

// Writes to a temporary name beside `path`, flushes to disk and renames: `path` holds the old content or
// the whole new one, never a part. The temporary file is removed when `write` or the disk fails.
// Errors: io (naming path and reason, e.g. no space left).
void write_file_atomically(const std::filesystem::path& path,
                           const std::function<void(std::ostream&)>& write);
void write_file_atomically(const std::filesystem::path& path, const std::string& bytes);

// A folder that appears under its final name only once it is complete.
//
//   StagedFolder folder("out");     // throws usage if "out" exists and is not an empty folder
//   ... write below folder.path() ...
//   folder.commit();                // renames; without it the destructor removes everything
class StagedFolder {
 public:
  explicit StagedFolder(std::filesystem::path final_path);
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  const std::filesystem::path& path() const noexcept { return staging_; }
  void commit();

 private:
  std::filesystem::path final_;
  std::filesystem::path staging_;
  bool committed_ = false;
};

}  // namespace mcci
