#include "mcci/core/log.hpp"

#include <atomic>
#include <cerrno>
#include <ctime>
#include <fstream>
#include <iostream>
#include <mutex>
#include <system_error>
#include <unistd.h>

#include "mcci/core/error.hpp"

namespace mcci {
namespace {

std::atomic<bool> is_quiet{false};
std::mutex mutex;  // guards log_file and keeps lines whole

std::ofstream& log_file() {
  static std::ofstream file;
  return file;
}

std::string time_stamp() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  ::gmtime_r(&now, &utc);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

// A message may quote a file name: no control character of it reaches the terminal or breaks the line.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

void write_line(const std::string& message, bool show) {
  const std::string clear_progress_bar = ::isatty(STDERR_FILENO) != 0 ? "\r\033[K" : "";
  const std::string line = one_line(message) + "\n";
  const std::lock_guard<std::mutex> lock(mutex);
  if (show) std::cerr << clear_progress_bar + line << std::flush;
  if (log_file().is_open()) log_file() << time_stamp() << ' ' << line << std::flush;
}

}  // namespace

void log_info(const std::string& message) { write_line(message, !is_quiet); }

void log_warning(const std::string& message) { write_line("warning: " + message, true); }

void set_log_file(const std::filesystem::path& path) {
  const std::lock_guard<std::mutex> lock(mutex);
  std::ofstream file;
  if (!path.empty()) {
    file.open(path, std::ios::app);
    if (!file) {
      throw Error(ErrorKind::io, "cannot open the log file (" + std::generic_category().message(errno) + ")",
                  path.string());
    }
  }
  log_file() = std::move(file);
}

void set_quiet(bool quiet) { is_quiet = quiet; }

bool quiet() { return is_quiet; }

}  // namespace mcci
