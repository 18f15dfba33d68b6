// SPDX-License-Identifier: BSD-2-Clause
// Signals: numbers, actions, sending, delivery.
#pragma once

#include "arch/x86_64/trap_frame.hpp"
#include "sched/thread.hpp"

namespace kernel {

struct Process;

inline constexpr int sig_hup = 1, sig_int = 2, sig_quit = 3, sig_ill = 4, sig_trap = 5,
                     sig_abrt = 6, sig_bus = 7, sig_fpe = 8, sig_kill = 9, sig_usr1 = 10,
                     sig_segv = 11, sig_usr2 = 12, sig_pipe = 13, sig_alrm = 14, sig_term = 15,
                     sig_chld = 17, sig_cont = 18, sig_stop = 19, sig_tstp = 20, sig_ttin = 21,
                     sig_ttou = 22, sig_urg = 23, sig_winch = 28;
inline constexpr int sig_count = 64;

inline constexpr std::uint64_t handler_default = 0;
inline constexpr std::uint64_t handler_ignore = 1;

/// sigaction of the system-call ABI.
struct SignalAction {
    std::uint64_t handler;
    std::uint64_t flags;
    std::uint64_t restorer;
    std::uint64_t mask;
};
namespace sa_flag {
inline constexpr std::uint64_t no_child_stop = 1, no_child_wait = 2, siginfo = 4,
                               on_stack = 0x08000000, restart = 0x10000000, no_defer = 0x40000000,
                               reset_hand = 0x80000000, restorer = 0x04000000;
} // namespace sa_flag

/// Codes of siginfo.
inline constexpr int code_user = 0, code_kernel = 0x80, code_queue = -1, code_tkill = -6;
inline constexpr int cld_exited = 1, cld_killed = 2, cld_dumped = 3, cld_stopped = 5,
                     cld_continued = 6;

/// Any context.
void send_signal(Process& process, const SignalInfo& info) noexcept;
void send_signal(Thread& thread, const SignalInfo& info) noexcept;
/// To the current thread for a fault of its own: cannot be blocked or ignored.
void force_signal(const SignalInfo& info) noexcept;
/// Acts on what is pending for the current thread: runs default actions, prepares the frame for one
/// or more handlers. May not return (the thread ends).
void deliver_signals(TrapFrame& frame) noexcept;
/// rt_sigreturn: restores the context that the handler interrupted.
[[nodiscard]] std::int64_t return_from_handler(TrapFrame& frame) noexcept;
/// Brings Thread::signal_check up to date after a change of mask or pending signals.
void update_signal_check(Thread& thread) noexcept;
void set_blocked(Thread& thread, std::uint64_t set) noexcept;
/// exec: handlers are gone, ignored signals stay ignored.
void reset_handlers(Process& process) noexcept;
/// Tells the parent about a state change of its child.
void notify_parent(Process& child, int code, int status) noexcept;

constexpr std::uint64_t unblockable_signals = signal_bit(sig_kill) | signal_bit(sig_stop);

} // namespace kernel
