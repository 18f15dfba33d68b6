// SPDX-License-Identifier: BSD-2-Clause
// Process: what a group of threads shares, its place in the tree of processes, and its end.
#pragma once

#include "process/signal.hpp"
#include "sched/thread.hpp"

#include <kernel/file.hpp>
#include <kernel/process_api.hpp>
#include <kernel/vfs.hpp>

namespace kernel {

class AddressSpace;

struct ResourceLimit {
    std::uint64_t soft;
    std::uint64_t hard;
};
inline constexpr unsigned limit_data = 2, limit_stack = 3, limit_nofile = 7, limit_count = 16;

enum class ProcessState : std::uint8_t { alive, zombie };

/// Owned by the tree: freed when its parent has waited for it. Everything here is changed with the
/// kernel unpreempted; signal state also with events masked.
struct Process {
    int pid{};
    int group{};
    int session{};
    Process* parent{};
    cero::ListLink all_link{};
    cero::ListLink sibling_link{};
    cero::IntrusiveList<Process, &Process::sibling_link> children;
    cero::IntrusiveList<Thread, &Thread::process_link> threads;
    unsigned thread_count{};
    char name[16]{};

    AddressSpace* space{};
    Ref<FdTable> files;
    Ref<FsContext> fs;
    Credentials credentials;
    ResourceLimit limits[limit_count]{};
    int nice{};
    std::uint32_t umask_unused{};

    SignalAction actions[sig_count]{};
    PendingSignals pending;
    int exit_signal{sig_chld};

    ProcessState state{ProcessState::alive};
    int exit_status{}; ///< as wait4 reports it
    bool exiting{};
    bool has_executed{}; ///< exec since fork (setpgid by the parent is over)
    bool stopped{};
    bool stop_reported{true};
    int stop_signal{};
    bool continue_reported{true};
    WaitQueue child_events;  ///< children changed state
    WaitQueue* vfork_done{}; ///< the parent waits for exec or exit

    Timer alarm; ///< ITIMER_REAL
    Nanoseconds alarm_interval{};

    Nanoseconds start_time{};
    std::uint64_t user_cycles{}, system_cycles{}; ///< of threads that ended
    std::uint64_t children_user_cycles{}, children_system_cycles{};
    std::uint64_t minor_faults{}, major_faults{};

    Process() noexcept;
    ~Process();
};

using ProcessList = cero::IntrusiveList<Process, &Process::all_link>;
[[nodiscard]] ProcessList& all_processes() noexcept;
[[nodiscard]] Process* find_process(int pid) noexcept;
[[nodiscard]] Thread* find_thread(int tid) noexcept;
/// Whether its parent, of another group of the same session, ties the process's group to the
/// session.
[[nodiscard]] bool ties_group(const Process& process) noexcept;
/// process_group_is_orphaned() when `leaving` (may be null) does not count any more.
[[nodiscard]] bool process_group_is_orphaned(int group, const Process* leaving) noexcept;
/// The process that adopts orphans.
[[nodiscard]] Process* init_process() noexcept;

/// A new id with its table entry reserved. again: all are taken.
[[nodiscard]] Result<int> allocate_pid() noexcept;
void release_pid(int pid) noexcept;
void register_thread(int tid, Thread* thread) noexcept;
void register_process(int pid, Process* process) noexcept;
[[nodiscard]] int last_pid() noexcept;
[[nodiscard]] std::uint64_t fork_count() noexcept;

/// Starts /init (or what init= names) as process 1; does not return to its caller's thread.
[[noreturn]] void start_init() noexcept;

/// Ends the current thread; the last one ends the process.
[[noreturn]] void exit_current_thread(int status) noexcept;
/// Ends all threads of the current process with a status in wait4's form.
[[noreturn]] void exit_process(int status) noexcept;
/// Wakes a parent that waits in vfork.
void finish_vfork(Process& process) noexcept;
void reap(Process& process) noexcept;

/// Replaces the program of the current process. The strings lie in kernel memory.
struct ExecStrings {
    char* text; ///< all strings, each with its NUL: arguments, then environment
    std::size_t size;
    std::size_t capacity;
    unsigned argument_count;
    unsigned environment_count;
    std::size_t arguments_size;
};
[[nodiscard]] Status execute(const char* path, const Path* at, ExecStrings& strings) noexcept;

} // namespace kernel
