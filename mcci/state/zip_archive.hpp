#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "mcci/state/sized_file.hpp"

namespace mcci {

// A zip archive as torch.save writes it, zip64 too. Its members are stored as they are; one that is
// compressed is listed, but cannot be read.
//
// Nothing is allocated before it has been checked against the file: members lie inside it, in front of the
// central directory, do not overlap, and have names of their own. So all members together are no larger than
// the file.
class ZipArchive {
 public:
  struct Member {
    std::string name;
    std::uint64_t size = 0;   // bytes in the file
    std::uint64_t begin = 0;  // of its data in the file
    std::uint32_t crc = 0;
    bool compressed = false;
  };

  // Errors: io; data if it is no such archive, or cut off.
  explicit ZipArchive(const std::filesystem::path& path);

  const std::vector<Member>& members() const noexcept { return members_; }
  const Member* find(const std::string& name) const;  // null if there is none
  const std::string& where() const noexcept { return file_.where(); }

  // All member.size bytes. Errors: io; data if it is compressed or the checksum is wrong.
  void read(const Member& member, void* bytes);
  std::string read(const Member& member);

 private:
  SizedFile file_;
  std::vector<Member> members_;
  std::unordered_map<std::string, std::size_t> positions_;  // by name
};

}  // namespace mcci
