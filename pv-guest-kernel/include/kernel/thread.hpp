// SPDX-License-Identifier: BSD-2-Clause
// Kernel threads, and what may be asked of the thread that runs.
#pragma once

#include <kernel/types.hpp>

namespace kernel {

struct Thread;
struct Process;

/// Thread context (or event context: the interrupted thread). Never null after start-up.
[[nodiscard]] Thread* current() noexcept;
/// The process of the current thread; null in a kernel thread.
[[nodiscard]] Process* current_process() noexcept;

/// Starts a thread that runs entry(argument) and ends when it returns. nomem.
Result<Thread*> spawn_kernel_thread(const char* name, void (*entry)(void*),
                                    void* argument) noexcept;

/// Lets others run.
void yield() noexcept;
/// For a kernel thread whose work others make: from now on it runs before programs as long as its
/// credit lasts (RunCredit), then beside them. It asks between two pieces of work whether to give
/// the CPU up, and does so with no lock held.
void ration_this_thread() noexcept;
[[nodiscard]] bool should_give_way() noexcept;
void give_way() noexcept;
/// Sleeps, not interruptible / interruptible (Errno::restart).
void sleep_ns(Nanoseconds duration) noexcept;
[[nodiscard]] Status sleep_until_interruptible(Nanoseconds deadline) noexcept;

/// True in event handlers and timer callbacks, where nothing may sleep.
[[nodiscard]] bool in_event_context() noexcept;

} // namespace kernel
