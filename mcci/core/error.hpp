#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace mcci {

// What went wrong, as a caller must tell it apart. The command line maps each kind to one exit code.
enum class ErrorKind {
  usage,        // exit 2: an unknown name, an option out of range, a run folder that is already taken
  data,         // exit 3: a corrupt image, a wrong magic number, a label out of range, a false size
  io,           // exit 4: a missing file, no permission, a full disk
  interrupted,  // exit 130: stopped by the user; what could be saved was saved
  internal,     // exit 1: a defect of mcci itself
};

// The one exception type of mcci. Its text reads "where: what; hint".
class Error : public std::runtime_error {
 public:
  // `what` says what is wrong, `where` which file, option or line, `hint` what to do about it.
  // `where` and `hint` may be empty.
  Error(ErrorKind kind, const std::string& what, const std::string& where = "", const std::string& hint = "");

  ErrorKind kind() const noexcept { return kind_; }
  int exit_code() const noexcept;

 private:
  ErrorKind kind_;
};

// "a, b or c", for messages that list candidates; the closest to `wanted` by edit distance come first.
// At most eight are listed.
std::string candidates(const std::string& wanted, const std::vector<std::string>& known);

}  // namespace mcci
