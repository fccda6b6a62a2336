#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace mcci {

// One line each on standard error and, once open, in the log file (there with a time stamp).
// Results go to standard output, never through here. Thread-safe.
void log_info(const std::string& message);
void log_warning(const std::string& message);  // "warning: ..."

// Also appends every line to `path` from now on; an empty path closes the file.
void set_log_file(const std::filesystem::path& path);
// Silences log_info and progress on standard error (`--quiet`); warnings and the log file stay.
void set_quiet(bool quiet);
bool quiet();

}  // namespace mcci
