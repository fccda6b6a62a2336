#include "mcci/suite/processes.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <spawn.h>
#include <string_view>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

constexpr std::chrono::seconds lock_patience(2);
constexpr std::chrono::milliseconds lock_interval(50);

std::vector<int> usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

// A new process inherits the cores of the thread that starts it; its libraries count them when they load.
class PinnedHere {
 public:
  explicit PinnedHere(const cpu_set_t& cores) {
    CPU_ZERO(&before_);
    changed_ = sched_getaffinity(0, sizeof before_, &before_) == 0 &&
               sched_setaffinity(0, sizeof cores, &cores) == 0;
  }
  ~PinnedHere() {
    if (changed_) sched_setaffinity(0, sizeof before_, &before_);
  }
  PinnedHere(const PinnedHere&) = delete;
  PinnedHere& operator=(const PinnedHere&) = delete;

 private:
  cpu_set_t before_;
  bool changed_;
};

// This process' environment with at most `threads` compute threads.
std::vector<std::string> environment_for(int threads) {
  constexpr std::string_view name = "OMP_NUM_THREADS=";
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::string_view(*entry).substr(0, name.size()) == name) {
      const int wish = std::atoi(*entry + name.size());
      if (wish > 0) threads = std::min(threads, wish);
    } else {
      result.emplace_back(*entry);
    }
  }
  result.push_back(std::string(name) + std::to_string(threads));
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// posix_spawn's two sets of attributes, released at the end.
struct SpawnRequest {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnRequest() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnRequest() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnRequest(const SpawnRequest&) = delete;
  SpawnRequest& operator=(const SpawnRequest&) = delete;
};

}  // namespace

ProcessPool::ProcessPool(std::size_t count) : slots_(std::max<std::size_t>(count, 1)) {
  const std::vector<int> cores = usable_cores();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    CPU_ZERO(&slots_[i].cores);
    const std::size_t begin = i * cores.size() / slots_.size();
    const std::size_t end = std::max(begin + 1, (i + 1) * cores.size() / slots_.size());
    for (std::size_t k = begin; k < end; ++k) CPU_SET(cores[k % cores.size()], &slots_[i].cores);
    slots_[i].core_count = static_cast<int>(end - begin);
  }
}

ProcessPool::~ProcessPool() {
  for (Slot& slot : slots_) {
    if (slot.process < 0) continue;
    ::kill(slot.process, SIGKILL);
    while (::waitpid(slot.process, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

std::size_t ProcessPool::running() const {
  return static_cast<std::size_t>(
      std::count_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.process >= 0; }));
}

void ProcessPool::start(const std::vector<std::string>& command, const std::filesystem::path& log,
                        const std::string& name) {
  const auto free =
      std::find_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.process < 0; });
  if (free == slots_.end() || command.empty())
    throw Error(ErrorKind::internal, "no worker can be started", name);

  SpawnRequest request;
  posix_spawn_file_actions_addopen(&request.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (!log.empty()) {
    posix_spawn_file_actions_addopen(&request.actions, STDERR_FILENO, log.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0666);
  }
  posix_spawn_file_actions_adddup2(&request.actions, STDERR_FILENO, STDOUT_FILENO);
  // A group of its own: Ctrl-C on the terminal reaches this process alone, which passes it on once.
  posix_spawnattr_setflags(&request.attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&request.attributes, 0);

  std::vector<std::string> words = command;
  std::vector<std::string> environment = environment_for(free->core_count);
  const PinnedHere pinned(free->cores);
  const int failure = posix_spawn(&free->process, words[0].c_str(), &request.actions, &request.attributes,
                                  pointers(words).data(), pointers(environment).data());
  if (failure != 0) {
    free->process = -1;
    throw Error(ErrorKind::io, "cannot be started (" + std::generic_category().message(failure) + ")",
                words[0]);
  }
  free->name = name;
  free->start = std::chrono::steady_clock::now();
}

void ProcessPool::interrupt() {
  for (const Slot& slot : slots_) {
    if (slot.process >= 0) ::kill(slot.process, SIGTERM);
  }
}

std::optional<ProcessPool::Ended> ProcessPool::poll() {
  for (Slot& slot : slots_) {
    int status = 0;
    if (slot.process < 0 || ::waitpid(slot.process, &status, WNOHANG) != slot.process) continue;
    slot.process = -1;
    return Ended{slot.name, status};
  }
  return std::nullopt;
}

std::vector<ProcessPool::Running> ProcessPool::names() const {
  std::vector<Running> result;
  for (const Slot& slot : slots_) {
    if (slot.process < 0) continue;
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - slot.start;
    result.push_back({slot.name, since.count()});
  }
  return result;
}

std::string describe_exit(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    return "was killed by signal " + std::to_string(signal) + " (" + ::strsignal(signal) + ")";
  }
  return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

void end_with_parent(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent)
    throw Error(ErrorKind::interrupted, "the process that started this one has ended");
  std::ofstream("/proc/self/oom_score_adj") << 500;
}

FolderLock::FolderLock(const std::filesystem::path& file)
    : descriptor_(::open(file.c_str(), O_RDWR | O_CREAT, 0666)) {
  if (descriptor_ < 0) {
    throw Error(ErrorKind::io, "cannot be opened (" + std::generic_category().message(errno) + ")",
                file.string());
  }
  const auto deadline = std::chrono::steady_clock::now() + lock_patience;
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    if ((reason == EWOULDBLOCK || reason == EINTR) && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(lock_interval);
      continue;
    }
    ::close(descriptor_);
    if (reason != EWOULDBLOCK) {
      throw Error(ErrorKind::io, "cannot be locked (" + std::generic_category().message(reason) + ")",
                  file.string());
    }
    throw Error(ErrorKind::usage, "another mcci works in this folder", file.parent_path().string(),
                "wait for it, or name another --out");
  }
}

FolderLock::~FolderLock() { ::close(descriptor_); }

}  // namespace mcci
