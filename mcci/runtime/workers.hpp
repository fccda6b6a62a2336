#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace mcci {

// To be called first in a thread of our own, or in a parallel region of OpenMP, that runs tensor operations:
// its operations then stay on that thread, where LibTorch or oneDNN would otherwise count on a team of
// threads for each.
void keep_torch_on_this_thread();

// What the calling thread does in tensor operations takes so many threads from now on.
void keep_torch_on_threads(int count);

// Cores that this process may use, at least 1.
std::int64_t allowed_cpus();

struct Work {
  std::string title;  // "loading images"
  std::string unit = "images";
  std::int64_t shown_from = 1000;  // so many of them on, progress is shown
  std::int64_t threads = 0;        // 0: allowed_cpus()
};

// Calls visit(i) for each i in [0, n), each on one of the threads. Errors: of those that visit throws the one
// of lowest i (larger i may then not have been visited); interrupted, if the user asked to stop.
void parallel_each(std::int64_t n, const Work& work, const std::function<void(std::int64_t)>& visit);

}  // namespace mcci
