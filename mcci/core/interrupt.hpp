#pragma once

namespace mcci {

// From now on the first SIGINT or SIGTERM only sets a flag, which long loops poll at a safe point (a training
// step's end), save and stop. A second SIGINT ends the process at once.
void install_interrupt_handler();
bool interrupt_requested() noexcept;
// For tests, and for a loop that has dealt with the request.
void set_interrupt_requested(bool value) noexcept;

}  // namespace mcci
