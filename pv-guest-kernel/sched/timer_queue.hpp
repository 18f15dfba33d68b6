// SPDX-License-Identifier: BSD-2-Clause
// The timers of this vCPU in order of time, and the hypervisor timer that serves the earliest.
#pragma once

#include <kernel/time.hpp>

namespace kernel {

void init_time() noexcept;
/// Tells the hypervisor the earliest deadline, if it does not know it. Called before leaving the
/// kernel (to user mode or into idleness), so that timers that come and go meanwhile cost nothing.
void program_timer() noexcept;
/// Cheap test whether program_timer() has work.
[[nodiscard]] bool timer_needs_programming() noexcept;

} // namespace kernel
