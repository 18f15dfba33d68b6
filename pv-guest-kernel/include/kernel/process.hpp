// SPDX-License-Identifier: BSD-2-Clause
// Processes as other subsystems see them: identity, files, process groups, signals.
#pragma once

#include <kernel/file.hpp>
#include <kernel/ref.hpp>
#include <kernel/thread.hpp>
#include <kernel/user_copy.hpp>
#include <kernel/vfs.hpp>

#include <cero/lib/intrusive_list.hpp>

namespace kernel {

class AddressSpace;
class Terminal; // tty layer

using Pid = std::int32_t;

/// Signal numbers of the ABI.
namespace sig {
inline constexpr int hup = 1, intr = 2, quit = 3, ill = 4, trap = 5, abrt = 6, bus = 7, fpe = 8,
                     kill = 9, usr1 = 10, segv = 11, usr2 = 12, pipe = 13, alrm = 14, term = 15,
                     chld = 17, cont = 18, stop = 19, tstp = 20, ttin = 21, ttou = 22, urg = 23,
                     xcpu = 24, xfsz = 25, vtalrm = 26, prof = 27, winch = 28, io = 29, pwr = 30,
                     sys = 31, count = 64;
} // namespace sig

/// Sends to every process of a group / to one process. Any context. srch when there is none.
Status signal_process_group(Pid group, int signal) noexcept;
Status signal_process(Pid pid, int signal) noexcept;
/// To the current thread (SIGPIPE).
void signal_current(int signal) noexcept;

/// What job control in the tty layer asks about the current process.
[[nodiscard]] Pid current_pid() noexcept;
[[nodiscard]] Pid current_tid() noexcept;
[[nodiscard]] Pid current_process_group() noexcept;
[[nodiscard]] Pid current_session() noexcept;
[[nodiscard]] bool current_is_session_leader() noexcept;
/// The current thread blocks or ignores the signal.
[[nodiscard]] bool current_ignores(int signal) noexcept;
/// No process of the group has a parent in another group of the same session.
[[nodiscard]] bool is_orphaned_group(Pid group) noexcept;
/// Session that the group belongs to; 0 when the group does not exist.
[[nodiscard]] Pid session_of_group(Pid group) noexcept;
/// A signal that the current thread must handle is pending.
[[nodiscard]] bool signal_pending() noexcept;

/// The controlling terminal of the current session; the tty layer sets it (null: none). When the session
/// leader exits the process layer calls terminal_session_ended(), which the tty layer defines.
[[nodiscard]] Terminal* current_terminal() noexcept;
void set_session_terminal(Pid session, Terminal* terminal) noexcept;
void terminal_session_ended(Terminal& terminal) noexcept;

/// One process for procfs. Strings are copied: the process may end meanwhile.
struct ProcessInfo {
    Pid pid, parent, group, session;
    std::uint32_t uid, euid, gid, egid;
    char name[16];          ///< comm
    char state;             ///< R S D T Z
    std::uint32_t threads;
    std::uint64_t virtual_bytes, resident_pages, shared_pages, text_pages, data_pages;
    std::uint64_t user_ns, system_ns, children_user_ns, children_system_ns, start_ns; ///< start: monotonic
    std::uint64_t minor_faults, major_faults;
    std::uint64_t pending, blocked, ignored, caught; ///< signal sets, bit n-1
    Terminal* terminal;
    std::int32_t nice;
};
/// Fills `out` with the process, or returns srch.
Status process_info(Pid pid, ProcessInfo& out) noexcept;
/// The first process id that is at least `from` (for listing /proc); srch at the end.
Result<Pid> next_process(Pid from) noexcept;
/// Thread ids of a process: the first that is at least `from`.
Result<Pid> next_thread(Pid pid, Pid from) noexcept;
/// Argument and environment strings as they lie in the process' memory; yields the count of bytes.
Result<std::size_t> process_arguments(Pid pid, char* out, std::size_t size) noexcept;
Result<std::size_t> process_environment(Pid pid, char* out, std::size_t size) noexcept;
/// One line of /proc/<pid>/maps: the first area that ends above `from`; `next` is where to go on.
Result<std::size_t> process_map_line(Pid pid, UserAddress from, char* out, std::size_t size,
                                     UserAddress& next) noexcept;
/// Files and directories of a process, for /proc/<pid>/{fd,cwd,root,exe}; references for the caller.
Result<Ref<FdTable>> process_files(Pid pid) noexcept;
Result<Ref<FsContext>> process_fs(Pid pid) noexcept;
Result<Ref<File>> process_executable(Pid pid) noexcept;

/// System-wide figures for /proc/stat, /proc/loadavg, sysinfo.
struct SystemLoad {
    std::uint64_t user_ns, system_ns, idle_ns, interrupts, context_switches, forks;
    std::uint32_t running, total_threads;
    std::uint32_t average[3]; ///< 1, 5, 15 minutes, fixed point with 11 fraction bits
    Pid last_pid;
};
[[nodiscard]] SystemLoad system_load() noexcept;

} // namespace kernel
