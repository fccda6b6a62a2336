#include "mcci/runtime/workers.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <sched.h>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>

#include "mcci/core/error.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/core/progress.hpp"

// Declared here because <omp.h> would ask for compiling with -fopenmp; LibTorch links the same library.
extern "C" void omp_set_num_threads(int);

namespace mcci {
namespace {

// Joins on destruction, so that a failure to start one thread leaves none behind.
class Threads {
 public:
  Threads() = default;
  ~Threads() {
    for (std::thread& thread : threads_) thread.join();
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  void start(const std::function<void()>& body) { threads_.emplace_back(body); }

 private:
  std::vector<std::thread> threads_;
};

}  // namespace

std::int64_t allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return std::max(1U, std::thread::hardware_concurrency());
  return std::max(1, CPU_COUNT(&set));
}

void keep_torch_on_threads(int count) {
  // Their first use sets the thread's count, in LibTorch's code and in its headers': ours must come after.
  at::get_num_threads();
  at::internal::lazy_init_num_threads();
  omp_set_num_threads(count);
}

void keep_torch_on_this_thread() { keep_torch_on_threads(1); }

void parallel_each(std::int64_t n, const Work& work, const std::function<void(std::int64_t)>& visit) {
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::optional<Progress> progress;
  if (n >= work.shown_from) progress.emplace(work.title, n, work.unit);
  std::exception_ptr first_error;
  std::int64_t first_error_at = n;

  const auto visit_more = [&] {
    keep_torch_on_this_thread();
    while (!stop && !interrupt_requested()) {
      const std::int64_t i = next++;
      if (i >= n) return;
      try {
        visit(i);
      } catch (...) {
        // Indices are handed out in order, so every lower one is being visited to its end: the lowest error
        // of all is found, whatever the number of threads.
        stop = true;
        const std::lock_guard lock(mutex);
        if (i < first_error_at) {
          first_error_at = i;
          first_error = std::current_exception();
        }
        return;
      }
      const std::lock_guard lock(mutex);
      if (progress) progress->advance();
    }
  };
  {
    Threads threads;
    const std::int64_t count = std::min(n, work.threads > 0 ? work.threads : allowed_cpus());
    for (std::int64_t t = 0; t < count; ++t) threads.start(visit_more);
  }
  progress.reset();
  if (first_error) std::rethrow_exception(first_error);
  if (interrupt_requested()) throw Error(ErrorKind::interrupted, "stopped while " + work.title);
}

}  // namespace mcci
