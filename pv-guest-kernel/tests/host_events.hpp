// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor and the scheduler as event.cpp sees them, for host tests: a clock that the test
// moves, timers, threads that want the CPU or not.
#pragma once

#include <kernel/event.hpp>
#include <kernel/time.hpp>

namespace host {

/// Moved by what a test does.
extern kernel::Nanoseconds now;
extern kernel::Nanoseconds stolen;
extern bool thread_wants_cpu;
/// Hypercalls that are counted.
extern unsigned closes;

/// Another domain sends to a port.
void send(kernel::event::Port port);
/// The hypervisor's upcall, if one is due: from user mode, `cost` there and back.
void upcall(kernel::Nanoseconds cost);
/// Calls the timers that are due, as the handler of the timer event does.
void run_timers();
[[nodiscard]] kernel::Nanoseconds next_timer();

} // namespace host
