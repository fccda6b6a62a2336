#include "mcci/core/files.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <ostream>
#include <streambuf>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void throw_io(const std::string& what, const fs::path& where, int reason) {
  const bool disk_full = reason == ENOSPC || reason == EDQUOT;
  throw Error(ErrorKind::io, what + " (" + std::generic_category().message(reason) + ")", where.string(),
              disk_full ? "free some space or write to another disk" : "");
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  bool close() {
    const int fd = std::exchange(fd_, -1);
    return fd < 0 || ::close(fd) == 0;
  }

 private:
  int fd_;
};

// Writes to a descriptor and, unlike std::filebuf, keeps the reason of the first failure.
class DescriptorBuffer : public std::streambuf {
 public:
  explicit DescriptorBuffer(int fd) : fd_(fd) { setp(buffer_.data(), buffer_.data() + buffer_.size()); }
  int failure() const { return failure_; }

 protected:
  int_type overflow(int_type c) override {
    if (sync() != 0) return traits_type::eof();
    if (!traits_type::eq_int_type(c, traits_type::eof())) sputc(traits_type::to_char_type(c));
    return traits_type::not_eof(c);
  }

  int sync() override {
    for (const char* next = pbase(); failure_ == 0 && next < pptr();) {
      const ssize_t written = ::write(fd_, next, static_cast<std::size_t>(pptr() - next));
      if (written >= 0) {
        next += written;
      } else if (errno != EINTR) {
        failure_ = errno;
      }
    }
    setp(buffer_.data(), buffer_.data() + buffer_.size());
    return failure_ == 0 ? 0 : -1;
  }

 private:
  int fd_;
  int failure_ = 0;
  std::array<char, 1 << 16> buffer_;
};

// Creates ".name.tmp-<pid>-<n>" beside `path`, on the same file system, so that a rename is atomic. A name
// that a killed process left behind is passed over.
template <class Create>
fs::path create_beside(const fs::path& path, const Create& create) {
  static std::atomic<unsigned> counter{0};
  for (;;) {
    const fs::path temporary =
        path.parent_path() / ("." + path.filename().string() + ".tmp-" + std::to_string(::getpid()) + "-" +
                              std::to_string(counter++));
    if (create(temporary.c_str())) return temporary;
    if (errno != EEXIST) throw_io("cannot write", path, errno);
  }
}

class TemporaryFile {
 public:
  explicit TemporaryFile(fs::path path) : path_(std::move(path)) {}
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  bool rename_to(const fs::path& target) {
    if (std::rename(path_.c_str(), target.c_str()) != 0) return false;
    path_.clear();
    return true;
  }

 private:
  fs::path path_;
};

// Makes a rename in `folder` last. Some file systems cannot; the rename has still happened.
void sync_folder(const fs::path& folder) {
  const Descriptor descriptor(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() >= 0) ::fsync(descriptor.get());
}

bool is_taken(const fs::path& path) {
  std::error_code failure;
  const fs::file_status status = fs::symlink_status(path, failure);
  if (status.type() == fs::file_type::not_found) return false;
  const bool empty_folder = fs::is_directory(status) && fs::is_empty(path, failure);
  return failure || !empty_folder;
}

[[noreturn]] void throw_taken(const fs::path& path) {
  throw Error(ErrorKind::usage, "exists already and is not an empty folder", path.string(),
              "choose another name or remove it");
}

}  // namespace

std::string read_file(const fs::path& path, std::uint64_t max_bytes) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status = {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) throw_io("cannot open", path, errno);

  const auto too_large = [&] {
    return Error(ErrorKind::data, "is larger than the limit of " + std::to_string(max_bytes) + " bytes",
                 path.string());
  };
  const std::uint64_t size = S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 0;
  if (size > max_bytes) throw too_large();

  // Pipes and /proc tell no size, and a file may grow meanwhile: read to the end, whatever the size was.
  std::string bytes;
  bytes.reserve(size);
  std::array<char, 1 << 16> chunk;
  for (;;) {
    const ssize_t count = ::read(file.get(), chunk.data(), chunk.size());
    if (count == 0) return bytes;
    if (count < 0) {
      if (errno == EINTR) continue;
      throw_io("cannot read", path, errno);
    }
    if (static_cast<std::uint64_t>(count) > max_bytes - bytes.size()) throw too_large();
    bytes.append(chunk.data(), static_cast<std::size_t>(count));
  }
}

void write_file_atomically(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  // Renaming onto a device or a pipe would replace it.
  std::error_code unknown;
  if (fs::exists(path, unknown) && !fs::is_regular_file(path, unknown)) {
    throw Error(ErrorKind::io, "cannot write: it exists and is not a regular file", path.string());
  }

  int fd = -1;
  TemporaryFile temporary(create_beside(path, [&](const char* name) {
    fd = ::open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return fd >= 0;
  }));
  Descriptor file(fd);

  DescriptorBuffer buffer(file.get());
  std::ostream stream(&buffer);
  write(stream);
  stream.flush();
  if (buffer.failure() != 0) throw_io("cannot write", path, buffer.failure());
  if (!stream) throw Error(ErrorKind::io, "cannot write: its content could not be produced", path.string());
  if (::fsync(file.get()) != 0 || !file.close()) throw_io("cannot write", path, errno);
  if (!temporary.rename_to(path)) throw_io("cannot write", path, errno);
  sync_folder(path.parent_path());
}

void write_file_atomically(const fs::path& path, const std::string& bytes) {
  write_file_atomically(path, [&](std::ostream& stream) {
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  });
}

StagedFolder::StagedFolder(fs::path final_path) : final_(std::move(final_path)) {
  std::error_code failure;
  final_ = fs::absolute(final_, failure).lexically_normal();
  if (!final_.has_filename()) final_ = final_.parent_path();  // "out/"
  if (is_taken(final_)) throw_taken(final_);

  fs::create_directories(final_.parent_path(), failure);
  if (failure) throw_io("cannot create the folder", final_.parent_path(), failure.value());
  staging_ = create_beside(final_, [](const char* name) { return ::mkdir(name, 0777) == 0; });
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(staging_, ignored);
}

void StagedFolder::commit() {
  if (is_taken(final_)) throw_taken(final_);
  if (std::rename(staging_.c_str(), final_.c_str()) != 0) throw_io("cannot create the folder", final_, errno);
  committed_ = true;
  sync_folder(final_.parent_path());
}

}  // namespace mcci
