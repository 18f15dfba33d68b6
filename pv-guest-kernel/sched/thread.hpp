// SPDX-License-Identifier: BSD-2-Clause
// Thread: what the scheduler, the signal code and the entry code know of one flow of control.
#pragma once

#include "arch/x86_64/trap_frame.hpp"
#include "sched/run_credit.hpp"

#include <kernel/process_api.hpp>
#include <kernel/sync.hpp>
#include <kernel/thread.hpp>
#include <kernel/time.hpp>

#include <cero/lib/intrusive_list.hpp>

namespace kernel {

struct SignalState;

inline constexpr std::size_t kernel_stack_size = KERNEL_STACK_SIZE;

enum class ThreadState : std::uint8_t {
    runnable,      ///< running or in a run queue
    sleeping,      ///< until woken
    interruptible, ///< until woken or signalled
    stopped,       ///< by job control
    dead,
};

/// How urgently a thread runs: kernel threads first, then threads that gave up the CPU by
/// themselves, then those that used up their time slice.
enum class RunLevel : std::uint8_t { kernel, interactive, batch };

struct SignalStack {
    UserAddress base{};
    std::uint64_t size{};
    int flags{2}; // SS_DISABLE
};

/// A queued signal with what SA_SIGINFO handlers see of it.
struct SignalInfo {
    int signal{};
    int code{};
    int pid{};
    std::uint32_t uid{};
    int status{};
    std::uint64_t address{};
    std::uint64_t value{};
};

/// Pending signals: a bit each, and details for those that came with some. Standard signals are not
/// queued twice; real-time signals beyond the queue's room fall back to the bit alone.
class PendingSignals {
public:
    static constexpr unsigned queue_size = 16;
    void add(const SignalInfo& info) noexcept;
    /// Takes the first pending signal of `set`.
    [[nodiscard]] bool take(std::uint64_t set, SignalInfo& out) noexcept;
    void remove(std::uint64_t set) noexcept;
    [[nodiscard]] std::uint64_t bits() const noexcept { return bits_; }

private:
    std::uint64_t bits_{};
    SignalInfo queue_[queue_size];
    unsigned count_{};
};

constexpr std::uint64_t signal_bit(int signal) noexcept {
    return std::uint64_t{1} << (signal - 1);
}

struct Thread {
    // Scheduler. `stack_top_frame()` is where user registers lie.
    void* saved_stack{};
    char* stack{};
    ThreadState state{ThreadState::runnable};
    RunLevel level{RunLevel::kernel};
    bool on_queue{};
    bool timed_out{};
    bool is_rationed{}; ///< a kernel thread that sinks when its credit is spent
    RunCredit credit;   ///< of a rationed thread
    cero::ListLink run_link{};
    Nanoseconds slice_left{};
    std::uint64_t switched_in{}; ///< TSC when it last got the CPU or crossed between modes
    std::uint64_t user_cycles{};
    std::uint64_t system_cycles{};
    Timer wake_timer;
    cero::ListLink all_link{};

    // Identity.
    char name[16]{};
    int tid{};
    Process* process{}; ///< null: kernel thread
    cero::ListLink process_link{};

    // User state that is not in the TrapFrame.
    std::uint64_t fs_base{};
    std::uint64_t gs_base{};
    void* fpu{}; ///< saved extended state; null until first saved
    UserAddress clear_tid{};
    UserAddress robust_list{};

    // Signals. Changed with events masked.
    std::uint64_t blocked{};
    std::uint64_t saved_blocked{}; ///< to restore after sigsuspend and friends
    std::uint64_t awaited{}; ///< set of rt_sigtimedwait: unblocked to wake, kept as if blocked
    bool restore_blocked{};
    PendingSignals pending;
    SignalStack signal_stack;
    bool signal_check{}; ///< look for signals on the way to user mode
    bool kill_pending{}; ///< the process ends: so must this thread, at once
    /// Number of a system call that returned Errno::restart and waits for its fate; all ones: none.
    std::uint64_t restart_number{~std::uint64_t{0}};

    Thread() noexcept;
    ~Thread();
    [[nodiscard]] TrapFrame& user_frame() noexcept {
        return *reinterpret_cast<TrapFrame*>(stack + kernel_stack_size - sizeof(TrapFrame));
    }
};

/// Allocates a thread with its stack; the caller prepares and starts it. nomem.
[[nodiscard]] Result<Thread*> create_thread(const char* name) noexcept;
/// A thread that never ran.
void discard_thread(Thread& thread) noexcept;
/// Lays a start frame so that the thread begins at entry(argument) / in user mode with
/// user_frame().
void prepare_kernel_entry(Thread& thread, void (*entry)(void*), void* argument) noexcept;
void prepare_user_entry(Thread& thread) noexcept;
/// Puts a thread into the run queue; also wakes. Any context.
void make_runnable(Thread& thread) noexcept;
/// Wakes a thread that sleeps interruptibly (signal) or is stopped; `any` also one that does not.
void interrupt_thread(Thread& thread) noexcept;

/// Picks the next thread and switches to it. The current thread's state says whether it stays
/// runnable.
void schedule() noexcept;
/// Ends the current thread; its stack is freed by the next one.
[[noreturn]] void exit_thread() noexcept;

/// Set when the current thread should be replaced at the next return to user mode.
[[nodiscard]] bool need_resched() noexcept;
void set_need_resched() noexcept;

/// Becomes the idle thread.
[[noreturn]] void idle_loop() noexcept;
void init_scheduler(char* boot_stack) noexcept;

/// Accounting at the crossing between user and kernel mode.
inline void account_user(Thread& thread, std::uint64_t now) noexcept {
    thread.user_cycles += now - thread.switched_in;
    thread.switched_in = now;
}
inline void account_system(Thread& thread, std::uint64_t now) noexcept {
    thread.system_cycles += now - thread.switched_in;
    thread.switched_in = now;
}
[[nodiscard]] Nanoseconds cycles_to_ns(std::uint64_t cycles) noexcept;

struct SchedulerCounters {
    std::uint64_t switches;
    std::uint64_t idle_cycles;
    std::uint32_t runnable;
    std::uint32_t threads;
};
[[nodiscard]] SchedulerCounters scheduler_counters() noexcept;

using ThreadList = cero::IntrusiveList<Thread, &Thread::all_link>;
[[nodiscard]] ThreadList& all_threads() noexcept;

} // namespace kernel
