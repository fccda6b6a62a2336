#include "mcci/core/progress.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

#include "mcci/core/log.hpp"

namespace mcci {
namespace {

constexpr std::chrono::milliseconds redraw_interval(100);

template <class... Values>
std::string formatted(const char* format, Values... values) {
  char text[64];
  std::snprintf(text, sizeof(text), format, values...);
  return text;
}

// Three digits: "1234", "56.7", "0.123".
std::string rate_text(double per_second) {
  return formatted(per_second >= 100 ? "%.0f" : per_second >= 1 ? "%.1f" : "%.3f", per_second);
}

std::size_t terminal_width() {
  winsize size = {};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(std::string title, std::int64_t total, std::string unit, std::chrono::seconds log_interval)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      start_(std::chrono::steady_clock::now()),
      last_draw_(start_),
      log_interval_(log_interval),
      terminal_(::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() { finish(); }

void Progress::start_at(std::int64_t done) {
  done_ = started_at_ = done;
  start_ = std::chrono::steady_clock::now();
}

void Progress::advance(std::int64_t n) {
  done_ += n;
  const auto since_draw = std::chrono::steady_clock::now() - last_draw_;
  const bool due = terminal_ && !quiet() ? since_draw >= redraw_interval : since_draw >= log_interval_;
  if (due) draw(false);
}

void Progress::set_eta(double seconds) { eta_ = seconds; }

void Progress::set_note(std::string note) { note_ = std::move(note); }

void Progress::finish() {
  if (!std::exchange(finished_, true)) draw(true);
}

void Progress::draw(bool final) {
  last_draw_ = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(last_draw_ - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_ - started_at_) / seconds : 0;
  const bool known = total_ > 0;
  const double share =
      known ? std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0) : 0;

  std::string counts = std::to_string(done_) + (known ? "/" + std::to_string(total_) : "") + " " + unit_;
  if (known) counts += formatted(" (%.0f%%)", std::floor(100 * share));
  counts += ", " + rate_text(rate) + " " + unit_ + "/s";
  if (final) {
    counts += ", took " + format_duration(seconds);
  } else if (eta_ >= 0) {
    counts += ", ETA " + format_duration(eta_);
  } else if (known && rate > 0) {
    counts += ", ETA " + format_duration(static_cast<double>(total_ - done_) / rate);
  }
  if (!note_.empty()) counts += ", " + note_;

  if (!terminal_ || quiet()) {
    log_info(title_ + ": " + counts);
    return;
  }
  std::string line = title_ + " ";
  if (known) {
    constexpr std::size_t bar_width = 24;
    const auto full = static_cast<std::size_t>(share * bar_width);
    line += "[" + std::string(full, '#') + std::string(bar_width - full, '.') + "] ";
  }
  line += counts;
  // A line that wraps could not be redrawn in place.
  std::cerr << "\r\033[K" + line.substr(0, terminal_width() - 1) + (final ? "\n" : "") << std::flush;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "unknown";
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 60) return formatted("%lld s", whole);
  if (whole < 3600) return formatted("%lld min %02lld s", whole / 60, whole % 60);
  return formatted("%lld h %02lld min", whole / 3600, whole % 3600 / 60);
}

}  // namespace mcci
