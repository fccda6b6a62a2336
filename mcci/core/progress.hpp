#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace mcci {

// Progress of one long loop: on a terminal a bar redrawn in place with rate and ETA, in a log a plain line
// every `log_interval`. Draws on standard error, seldom enough that advance() may be called per item.
class Progress {
 public:
  // `unit` is what is counted: "images", "cells". A total of 0 means unknown: no bar, no ETA.
  Progress(std::string title, std::int64_t total, std::string unit,
           std::chrono::seconds log_interval = std::chrono::seconds(30));
  ~Progress();  // finishes
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Starts the count at `done` without it entering the rate (a resumed loop).
  void start_at(std::int64_t done);
  void advance(std::int64_t n = 1);
  // The seconds that are left, where the caller knows better than the rate so far tells.
  void set_eta(double seconds);
  // A short text behind the bar, e.g. "loss 0.41".
  void set_note(std::string note);
  void finish();

 private:
  void draw(bool final);

  std::string title_;
  std::string unit_;
  std::string note_;
  double eta_ = -1;  // negative: from the rate
  std::int64_t total_;
  std::int64_t done_ = 0;
  std::int64_t started_at_ = 0;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_draw_;
  std::chrono::seconds log_interval_;
  bool terminal_;
  bool finished_ = false;
};

// "3 min 05 s", "1 h 02 min", "12 s".
std::string format_duration(double seconds);

}  // namespace mcci
