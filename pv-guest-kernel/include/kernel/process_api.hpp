// SPDX-License-Identifier: BSD-2-Clause
// What files, terminals and procfs ask of the process layer. Implemented in
// pv-guest-kernel/process.
#pragma once

#include <kernel/file.hpp>
#include <kernel/types.hpp>
#include <kernel/user_copy.hpp>
#include <kernel/vfs.hpp>

namespace kernel {

/// Where the current process stands in job control; all zero in a kernel thread.
struct JobControl {
    int pid;
    int process_group;
    int session;
    bool is_session_leader;
};
[[nodiscard]] JobControl current_job() noexcept;
/// True if the current thread blocks or ignores the signal.
[[nodiscard]] bool current_blocks_signal(int signal) noexcept;
/// Any context. No such group: nothing happens.
void signal_process_group(int process_group, int signal) noexcept;
void signal_process(int pid, int signal) noexcept;
/// To the current thread (SIGPIPE, SIGTTIN ...).
void signal_current(int signal) noexcept;
[[nodiscard]] bool process_group_in_session(int process_group, int session) noexcept;
[[nodiscard]] bool process_group_is_orphaned(int process_group) noexcept;

/// ppoll and friends: blocks `mask` instead of the thread's own mask until this system call has
/// returned (a handler that a signal runs meanwhile sees the own mask restored behind it).
void set_temporary_signal_mask(std::uint64_t mask) noexcept;

/// signalfd: takes one pending signal of the set off the current process; 0 if there is none.
struct TakenSignal {
    int signal;
    int code;
    int pid;
    std::uint32_t uid;
    int status;
};
[[nodiscard]] TakenSignal take_pending_signal(std::uint64_t set) noexcept;
[[nodiscard]] std::uint64_t pending_signals() noexcept;
/// Notified whenever a signal is queued to any process.
[[nodiscard]] PollQueue& signal_arrivals() noexcept;

/// A process for /proc. Times are in nanoseconds.
struct ProcessInfo {
    int pid;
    int parent;
    int process_group;
    int session;
    int foreground_group; ///< unused, filled by the tty layer
    char state;           ///< R S D Z T
    char name[16];
    std::uint32_t threads;
    std::uint32_t uid, euid, gid, egid;
    Nanoseconds user_time, system_time, children_user_time, children_system_time, start_time;
    std::uint64_t minor_faults, major_faults;
    std::uint64_t virtual_bytes, resident_pages, shared_pages, text_pages, data_pages, stack_bytes;
    std::uint64_t pending, blocked, ignored, caught;
    UserAddress arguments_start, arguments_end, environment_start, environment_end;
    bool is_kernel_thread;
};
[[nodiscard]] Result<ProcessInfo> process_info(int pid) noexcept;
/// The smallest pid above `after`; 0 at the end.
[[nodiscard]] int next_process(int after) noexcept;
[[nodiscard]] Ref<FdTable> process_files(int pid) noexcept;
[[nodiscard]] Ref<FsContext> process_fs(int pid) noexcept;
[[nodiscard]] Ref<File> process_executable(int pid) noexcept;
/// Reads another process' memory; the count may be short.
Result<std::size_t> read_process_memory(int pid, UserAddress from, void* to,
                                        std::size_t size) noexcept;

/// One line of /proc/<pid>/maps.
struct MapsEntry {
    UserAddress start, end;
    bool read, write, exec, shared;
    std::uint64_t offset;
    File* file;        ///< null for anonymous memory; valid during the callback
    const char* label; ///< "[heap]", "[stack]" or null
};
using MapsCallback = void (*)(const MapsEntry& entry, void* context);
void for_each_mapping(int pid, MapsCallback callback, void* context) noexcept;

/// /proc/stat and /proc/loadavg.
struct SystemLoad {
    Nanoseconds user, system, idle, steal;
    std::uint64_t context_switches, forks, interrupts;
    std::uint32_t running, total;
    std::uint32_t load_average[3]; ///< fixed point, 11 bits of fraction
    int last_pid;
};
[[nodiscard]] SystemLoad system_load() noexcept;

/// uname(2): the node name (sethostname), and the release, whose number glibc checks.
[[nodiscard]] std::string_view host_name() noexcept;
Status set_host_name(std::string_view name) noexcept;
inline constexpr char kernel_release[] = "6.1.0-cero";

/// The session leader is gone: its terminal is hung up. Implemented by the tty layer.
void release_controlling_terminal(int session) noexcept;
/// Device number and foreground group of the session's terminal (for /proc/<pid>/stat); 0 and -1 if
/// none.
struct TerminalInfo {
    DeviceNumber device;
    int foreground_group;
};
[[nodiscard]] TerminalInfo session_terminal(int session) noexcept;

} // namespace kernel
