#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <sched.h>
#include <string>
#include <sys/types.h>
#include <vector>

namespace mcci {

// A few processes at once, each pinned to its share of the cores that this one may use: with two compute
// threads on a core that is shared, LibTorch is up to ten times slower than with one. They end with this
// process, and hold its open descriptors (the lock of the folder) until then.
class ProcessPool {
 public:
  explicit ProcessPool(std::size_t count);
  ~ProcessPool();  // kills what still runs, and waits for it
  ProcessPool(const ProcessPool&) = delete;
  ProcessPool& operator=(const ProcessPool&) = delete;

  bool full() const { return running() == slots_.size(); }
  std::size_t running() const;
  // Titles are the caller's. Output goes to `log`, or to this process' standard error if it is empty.
  // Errors: io if the process cannot be started; internal if full().
  void start(const std::vector<std::string>& command, const std::filesystem::path& log,
             const std::string& name);
  // Asks all to save and stop, as Ctrl-C does.
  void interrupt();

  struct Ended {
    std::string name;
    int status = 0;  // of waitpid
  };
  // One that has ended, if any.
  std::optional<Ended> poll();

  struct Running {
    std::string name;
    double seconds = 0;
  };
  std::vector<Running> names() const;

 private:
  struct Slot {
    pid_t process = -1;
    std::string name;
    std::chrono::steady_clock::time_point start;
    cpu_set_t cores;
    int core_count = 1;
  };
  std::vector<Slot> slots_;
};

// "ended with exit code 3", "was killed by signal 9 (Killed)".
std::string describe_exit(int status);

// In a worker: from now on this process is killed when `parent`, which started it, ends. When memory runs
// out, it goes before its parent. Errors: interrupted if the parent has ended already.
void end_with_parent(pid_t parent);

// Of one process at a time; released when the last process that holds it ends.
class FolderLock {
 public:
  // Waits a few seconds for a killed run's workers. Errors: usage if another process holds it; io.
  explicit FolderLock(const std::filesystem::path& file);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace mcci
