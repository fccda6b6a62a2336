#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace mcci {

// To be called first in a thread of our own that runs tensor operations: its operations then stay on that
// thread, where LibTorch would otherwise start a team of OpenMP threads for each such thread.
void keep_torch_on_this_thread();

// Calls visit(i) for each i in [0, n), on as many threads as the process may use; if they are many, shows
// progress under `title` ("loading images"). Errors: of those that visit throws the one of lowest i (larger i
// may then not have been visited); interrupted, if the user asked to stop.
void parallel_each(std::int64_t n, const std::string& title, const std::function<void(std::int64_t)>& visit);

}  // namespace mcci
