#include "mcci/state/zip_archive.hpp"

#include <algorithm>

#include <zlib.h>

#include "mcci/core/error.hpp"
#include "mcci/state/names.hpp"

namespace mcci {
namespace {

// PKWARE's APPNOTE.TXT, sections 4.3 to 4.5.
constexpr std::uint32_t local_header_mark = 0x04034b50;
constexpr std::uint32_t directory_entry_mark = 0x02014b50;
constexpr std::uint32_t directory_end_mark = 0x06054b50;
constexpr std::uint32_t zip64_end_mark = 0x06064b50;
constexpr std::uint32_t zip64_locator_mark = 0x07064b50;
constexpr std::uint64_t local_header_bytes = 30;
constexpr std::uint64_t directory_entry_bytes = 46;
constexpr std::uint64_t directory_end_bytes = 22;
constexpr std::uint64_t zip64_end_bytes = 56;
constexpr std::uint64_t zip64_locator_bytes = 20;
constexpr std::uint64_t longest_comment = 65535;
constexpr std::uint16_t zip64_field = 1;
constexpr std::uint32_t elsewhere = 0xffffffff;         // the value is in the zip64 field
constexpr std::uint64_t max_directory_bytes = 1 << 28;  // millions of members

[[noreturn]] void fail(const std::string& what, const std::string& where, const std::string& hint = "") {
  throw Error(ErrorKind::data, what, where, hint);
}

// Little-endian numbers from a text whose length the caller knows.
template <class T>
T number_at(const std::string& bytes, std::uint64_t position) {
  T value = 0;
  for (std::size_t i = sizeof(T); i > 0; --i)
    value = static_cast<T>(value << 8) | static_cast<unsigned char>(bytes[position + i - 1]);
  return value;
}

struct Directory {
  std::uint64_t begin = 0;
  std::uint64_t size = 0;
  std::uint64_t entries = 0;
};

// The zip64 end record, which a locator in front of the ordinary one points to.
Directory zip64_directory(SizedFile& file, std::uint64_t end) {
  const auto cut_off = [&] { fail("its zip64 record is missing", file.where(), "the file is damaged"); };
  if (end < zip64_locator_bytes) cut_off();
  const std::string locator = file.read(end - zip64_locator_bytes, zip64_locator_bytes);
  const auto position = number_at<std::uint64_t>(locator, 8);
  if (number_at<std::uint32_t>(locator, 0) != zip64_locator_mark || end < zip64_end_bytes ||
      position > end - zip64_end_bytes) {
    cut_off();
  }
  const std::string record = file.read(position, zip64_end_bytes);
  if (number_at<std::uint32_t>(record, 0) != zip64_end_mark) cut_off();
  return {number_at<std::uint64_t>(record, 48), number_at<std::uint64_t>(record, 40),
          number_at<std::uint64_t>(record, 32)};
}

Directory find_directory(SizedFile& file) {
  const std::uint64_t searched = std::min(file.size(), directory_end_bytes + longest_comment);
  const std::string tail = file.read(file.size() - searched, searched);
  for (std::uint64_t at = tail.size(); at >= directory_end_bytes; --at) {
    const std::uint64_t record = at - directory_end_bytes;
    if (number_at<std::uint32_t>(tail, record) != directory_end_mark ||
        number_at<std::uint16_t>(tail, record + 20) != tail.size() - at) {
      continue;
    }
    const std::uint64_t end = file.size() - searched + record;
    const Directory found = {number_at<std::uint32_t>(tail, record + 16),
                             number_at<std::uint32_t>(tail, record + 12),
                             number_at<std::uint16_t>(tail, record + 10)};
    const bool is_zip64 = found.begin == elsewhere || found.size == elsewhere || found.entries == 0xffff;
    const Directory directory = is_zip64 ? zip64_directory(file, end) : found;
    if (directory.begin > end || directory.size > end - directory.begin ||
        directory.size > max_directory_bytes || directory.entries > directory.size / directory_entry_bytes) {
      fail("the size of its directory cannot be true", file.where(), "the file is damaged");
    }
    return directory;
  }
  fail("has no directory at its end", file.where(), "it is no zip archive, or it has been cut off");
}

// What a directory entry leaves to its zip64 field, in the order in which that holds it.
void read_zip64_field(const std::string& extra, std::vector<std::uint64_t*> wanted,
                      const std::string& where) {
  wanted.erase(
      std::remove_if(wanted.begin(), wanted.end(), [](const auto* value) { return *value != elsewhere; }),
      wanted.end());
  if (wanted.empty()) return;
  for (std::size_t at = 0; at + 4 <= extra.size();) {
    const std::size_t length = number_at<std::uint16_t>(extra, at + 2);
    if (at + 4 + length > extra.size()) break;
    if (number_at<std::uint16_t>(extra, at) == zip64_field && length >= 8 * wanted.size()) {
      for (std::size_t i = 0; i < wanted.size(); ++i)
        *wanted[i] = number_at<std::uint64_t>(extra, at + 4 + 8 * i);
      return;
    }
    at += 4 + length;
  }
  fail("a directory entry lacks its zip64 field", where, "the file is damaged");
}

// Where the member's data begins; its local header must repeat what the directory says.
std::uint64_t data_begin(SizedFile& file, const std::string& name, std::uint64_t header,
                         std::uint64_t limit) {
  const auto fits = [&](std::uint64_t bytes) { return header <= limit && bytes <= limit - header; };
  if (fits(local_header_bytes + name.size())) {
    const std::string fixed = file.read(header, local_header_bytes);
    const std::uint64_t name_bytes = number_at<std::uint16_t>(fixed, 26);
    const std::uint64_t total = local_header_bytes + name_bytes + number_at<std::uint16_t>(fixed, 28);
    if (number_at<std::uint32_t>(fixed, 0) == local_header_mark && name_bytes == name.size() && fits(total) &&
        file.read(header + local_header_bytes, name_bytes) == name) {
      return header + total;
    }
  }
  fail("the header of its member " + shown_name(name) + " is not where its directory says", file.where(),
       "the file is damaged");
}

}  // namespace

ZipArchive::ZipArchive(const std::filesystem::path& path) : file_(path) {
  const Directory directory = find_directory(file_);
  const std::string bytes = file_.read(directory.begin, directory.size);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;  // header begin, data end
  std::uint64_t at = 0;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    if (bytes.size() - at < directory_entry_bytes ||
        number_at<std::uint32_t>(bytes, at) != directory_entry_mark) {
      fail("its directory is damaged", where());
    }
    const std::uint64_t name_bytes = number_at<std::uint16_t>(bytes, at + 28);
    const std::uint64_t extra_bytes = number_at<std::uint16_t>(bytes, at + 30);
    const std::uint64_t entry_bytes =
        directory_entry_bytes + name_bytes + extra_bytes + number_at<std::uint16_t>(bytes, at + 32);
    if (bytes.size() - at < entry_bytes) fail("its directory is damaged", where());
    Member member;
    member.name = bytes.substr(at + directory_entry_bytes, name_bytes);
    member.crc = number_at<std::uint32_t>(bytes, at + 16);
    member.size = number_at<std::uint32_t>(bytes, at + 20);
    std::uint64_t whole = number_at<std::uint32_t>(bytes, at + 24);
    std::uint64_t header = number_at<std::uint32_t>(bytes, at + 42);
    read_zip64_field(bytes.substr(at + directory_entry_bytes + name_bytes, extra_bytes),
                     {&whole, &member.size, &header}, where());
    const std::string name = shown_name(member.name);
    if ((number_at<std::uint16_t>(bytes, at + 8) & 1) != 0)
      fail("its member " + name + " is encrypted", where());
    member.compressed = number_at<std::uint16_t>(bytes, at + 10) != 0 || member.size != whole;
    if (!positions_.emplace(member.name, members_.size()).second) fail("it has two members " + name, where());
    member.begin = data_begin(file_, member.name, header, directory.begin);
    if (member.size > directory.begin - member.begin) {
      fail("its member " + name + " is larger than the file", where(), "the file is damaged");
    }
    extents.emplace_back(header, member.begin + member.size);
    members_.push_back(std::move(member));
    at += entry_bytes;
  }
  std::sort(extents.begin(), extents.end());
  for (std::size_t i = 1; i < extents.size(); ++i) {
    if (extents[i].first < extents[i - 1].second) fail("two of its members overlap", where());
  }
}

const ZipArchive::Member* ZipArchive::find(const std::string& name) const {
  const auto found = positions_.find(name);
  return found == positions_.end() ? nullptr : &members_[found->second];
}

void ZipArchive::read(const Member& member, void* bytes) {
  if (member.compressed) {
    fail("its member " + shown_name(member.name) + " is compressed, which torch.save never does", where(),
         "save the weights again with torch.save");
  }
  file_.read(member.begin, bytes, member.size);
  if (crc32_z(0, static_cast<const Bytef*>(bytes), member.size) != member.crc) {
    fail("the checksum of its member " + shown_name(member.name) + " is wrong", where(),
         "the file is damaged, or was saved without checksums");
  }
}

std::string ZipArchive::read(const Member& member) {
  std::string bytes(member.size, '\0');
  read(member, bytes.data());
  return bytes;
}

}  // namespace mcci
