// SPDX-License-Identifier: BSD-2-Clause
// The end of threads and processes, and waiting for it.
#include "arch/x86_64/cpu.hpp"
#include "mm/address_space.hpp"
#include "process/futex.hpp"
#include "process/process.hpp"

#include <kernel/log.hpp>
#include <kernel/sync.hpp>
#include <kernel/syscall.hpp>

namespace kernel {

namespace {

void alarm_rings(void* context) {
    auto& process = *static_cast<Process*>(context);
    SignalInfo info;
    info.signal = sig_alrm;
    info.code = code_kernel;
    send_signal(process, info);
    if (process.alarm_interval != 0)
        process.alarm.arm(process.alarm.deadline() + process.alarm_interval);
}

} // namespace

Process::Process() noexcept : alarm{alarm_rings, this} {}
Process::~Process() = default;

void finish_vfork(Process& process) noexcept {
    EventGuard guard;
    WaitQueue* waiting = process.vfork_done;
    process.vfork_done = nullptr;
    if (waiting != nullptr)
        waiting->wake_all();
}

void reap(Process& process) noexcept {
    {
        EventGuard guard;
        ProcessList::remove(process);
        if (process.parent != nullptr)
            decltype(process.parent->children)::remove(process);
    }
    release_pid(process.pid);
    process.~Process();
    kfree(&process);
}

namespace {

/// A group that has lost its last tie to its session, and of which something is stopped, is
/// continued with a hang-up: nobody is left to do so. `leaving` counts no more.
void release_orphaned_group(int group, const Process* leaving) noexcept {
    if (!process_group_is_orphaned(group, leaving))
        return;
    for (const Process& process : all_processes()) {
        if (process.group == group && process.stopped) {
            signal_process_group(group, sig_hup);
            signal_process_group(group, sig_cont);
            return;
        }
    }
}

/// Children go to init; those that are dead already are reported to it. Groups that the process
/// tied to the session may be orphans now (POSIX, _exit()); those that nobody tied before stay as
/// they are.
void orphan_children(Process& process) noexcept {
    Process* heir = init_process();
    while (Process* child = process.children.pop_front()) {
        const bool tied = ties_group(*child);
        child->parent = heir;
        heir->children.push_back(*child);
        if (child->state == ProcessState::zombie)
            notify_parent(*child, cld_exited, 0);
        else if (tied)
            release_orphaned_group(child->group, &process);
    }
    if (ties_group(process))
        release_orphaned_group(process.group, &process);
}

/// The last thread is leaving: only exit status and times remain.
void end_process(Process& process) noexcept {
    if (process.pid == 1)
        panic("init ended (status %#x)", static_cast<unsigned>(process.exit_status));
    process.alarm.cancel();
    AddressSpace* space = process.space;
    process.files = Ref<FdTable>{};
    process.fs = Ref<FsContext>{};
    finish_vfork(process);
    space->put();
    process.space = nullptr;
    if (process.session == process.pid)
        release_controlling_terminal(process.session);
    orphan_children(process);
    EventGuard guard;
    process.state = ProcessState::zombie;
    const Process& parent = *process.parent;
    const SignalAction& action = parent.actions[sig_chld - 1];
    const bool unwanted =
        process.exit_signal == sig_chld &&
        (action.handler == handler_ignore || (action.flags & sa_flag::no_child_wait) != 0);
    const int status = process.exit_status;
    notify_parent(process, (status & 0x7f) == 0 ? cld_exited : cld_killed,
                  (status & 0x7f) == 0 ? status >> 8 : status & 0x7f);
    if (unwanted) {
        WaitQueue& events = process.parent->child_events;
        reap(process);
        events.wake_all();
    }
}

} // namespace

void exit_current_thread(int status) noexcept {
    Thread& self = *current();
    Process& process = *self.process;
    if (self.clear_tid != 0 && process.space != nullptr) {
        static_cast<void>(write_user<std::uint32_t>(self.clear_tid, 0));
        static_cast<void>(futex_wake(self.clear_tid, 1));
    }
    release_robust_futexes(self);
    account_system(self, read_tsc());
    process.user_cycles += self.user_cycles;
    process.system_cycles += self.system_cycles;
    self.user_cycles = self.system_cycles = 0;
    bool last = false;
    {
        EventGuard guard;
        decltype(process.threads)::remove(self);
        last = --process.thread_count == 0;
        if (last && !process.exiting)
            process.exit_status = status;
    }
    if (self.tid != process.pid)
        release_pid(self.tid);
    else
        register_thread(self.tid, nullptr);
    if (last) {
        end_process(process);
    }
    {
        EventGuard guard;
        self.process = nullptr;
        self.kill_pending = false;
    }
    exit_thread();
}

void exit_process(int status) noexcept {
    Process& process = *current()->process;
    {
        EventGuard guard;
        if (!process.exiting) {
            process.exiting = true;
            process.exit_status = status;
            for (Thread& thread : process.threads) {
                thread.kill_pending = true;
                thread.signal_check = true;
                if (thread.state == ThreadState::interruptible ||
                    thread.state == ThreadState::stopped)
                    make_runnable(thread);
            }
        }
    }
    exit_current_thread(process.exit_status);
}

namespace {

// Options of wait4 and waitid.
constexpr int wait_nohang = 1;
constexpr int wait_untraced = 2;
constexpr int wait_exited = 4;
constexpr int wait_continued = 8;
constexpr int wait_nowait = 0x01000000;
constexpr int status_continued = 0xffff;

struct Found {
    Process* child;
    int status;
    int code;
};

bool matches(const Process& child, const Process& self, int pid) noexcept {
    if (pid > 0)
        return child.pid == pid;
    if (pid == 0)
        return child.group == self.group;
    return pid == -1 || child.group == -pid;
}

/// Looks for a child with news. child: there is no such child.
Result<Found> look_for_child(Process& self, int pid, int options) noexcept {
    bool any = false;
    for (Process& child : self.children) {
        if (!matches(child, self, pid))
            continue;
        any = true;
        if (child.state == ProcessState::zombie && (options & wait_exited) != 0)
            return Found{&child, child.exit_status,
                         (child.exit_status & 0x7f) == 0 ? cld_exited : cld_killed};
        if ((options & wait_untraced) != 0 && child.stopped && !child.stop_reported)
            return Found{&child, (child.stop_signal << 8) | 0x7f, cld_stopped};
        if ((options & wait_continued) != 0 && !child.continue_reported)
            return Found{&child, status_continued, cld_continued};
    }
    if (!any)
        return Errno::child;
    return Found{nullptr, 0, 0};
}

struct Waited {
    int pid;
    int status;
    int code;
    std::uint32_t uid;
    std::uint64_t user_cycles, system_cycles;
};

Result<Waited> wait_for_child(int pid, int options) noexcept {
    Process& self = *current_process();
    Found found{};
    Errno error = Errno::ok;
    const Status waited = self.child_events.wait_interruptible([&] {
        const auto looked = look_for_child(self, pid, options);
        error = looked.error();
        if (looked)
            found = *looked;
        return !looked || found.child != nullptr || (options & wait_nohang) != 0;
    });
    if (!waited)
        return waited.error();
    if (error != Errno::ok)
        return error;
    if (found.child == nullptr)
        return Waited{};
    Process& child = *found.child;
    const Waited result{child.pid,
                        found.status,
                        found.code,
                        child.credentials.uid,
                        child.user_cycles + child.children_user_cycles,
                        child.system_cycles + child.children_system_cycles};
    if ((options & wait_nowait) != 0)
        return result;
    if (child.state == ProcessState::zombie) {
        self.children_user_cycles += result.user_cycles;
        self.children_system_cycles += result.system_cycles;
        reap(child);
    } else if (found.code == cld_stopped) {
        child.stop_reported = true;
    } else {
        child.continue_reported = true;
    }
    return result;
}

struct UserTimeval {
    std::int64_t seconds;
    std::int64_t microseconds;
};
struct UserUsage {
    UserTimeval user;
    UserTimeval system;
    std::int64_t rest[14];
};

UserTimeval to_timeval(std::uint64_t cycles) noexcept {
    const Nanoseconds time = cycles_to_ns(cycles);
    return {static_cast<std::int64_t>(time / ns_per_s),
            static_cast<std::int64_t>(time % ns_per_s / ns_per_us)};
}

Result<std::int64_t> sys_wait4(int pid, UserAddress status, int options, UserAddress usage) {
    const Waited waited = TRY(wait_for_child(pid, (options & ~wait_exited) | wait_exited));
    if (waited.pid == 0)
        return 0;
    if (status != 0)
        TRY(write_user(status, waited.status));
    if (usage != 0)
        TRY(write_user(
            usage,
            UserUsage{to_timeval(waited.user_cycles), to_timeval(waited.system_cycles), {}}));
    return waited.pid;
}
CERO_SYSCALL(61, wait4);

Result<std::int64_t> sys_waitid(int kind, int id, UserAddress info, int options,
                                UserAddress usage) {
    constexpr int by_all = 0;
    constexpr int by_pid = 1;
    constexpr int by_group = 2;
    if (kind < by_all || kind > by_group)
        return Errno::inval;
    const int pid = kind == by_all ? -1 : kind == by_pid ? id : id == 0 ? 0 : -id;
    const Waited waited = TRY(wait_for_child(pid, options));
    struct {
        std::int32_t signal, error, code, pad, pid;
        std::uint32_t uid;
        std::int32_t status, rest[25];
    } out{};
    static_assert(sizeof out == 128);
    if (waited.pid != 0) {
        out.signal = sig_chld;
        out.code = waited.code;
        out.pid = waited.pid;
        out.uid = waited.uid;
        out.status = waited.code == cld_exited      ? waited.status >> 8
                     : waited.code == cld_stopped   ? waited.status >> 8
                     : waited.code == cld_continued ? sig_cont
                                                    : waited.status & 0x7f;
    }
    if (info != 0)
        TRY(write_user(info, out));
    if (usage != 0 && waited.pid != 0)
        TRY(write_user(
            usage,
            UserUsage{to_timeval(waited.user_cycles), to_timeval(waited.system_cycles), {}}));
    return 0;
}
CERO_SYSCALL(247, waitid);

Result<std::int64_t> sys_exit(int status) {
    exit_current_thread((status & 0xff) << 8);
}
CERO_SYSCALL(60, exit);

Result<std::int64_t> sys_exit_group(int status) {
    exit_process((status & 0xff) << 8);
}
CERO_SYSCALL(231, exit_group);

Result<std::int64_t> sys_getrusage(int who, UserAddress usage) {
    const Process& process = *current_process();
    constexpr int children = -1;
    std::uint64_t user = process.user_cycles;
    std::uint64_t system = process.system_cycles;
    if (who == children) {
        user = process.children_user_cycles;
        system = process.children_system_cycles;
    } else {
        for (const Thread& thread : current_process()->threads) {
            user += thread.user_cycles;
            system += thread.system_cycles;
        }
    }
    UserUsage out{to_timeval(user), to_timeval(system), {}};
    out.rest[4] = static_cast<std::int64_t>(process.minor_faults);
    TRY(write_user(usage, out));
    return 0;
}
CERO_SYSCALL(98, getrusage);

Result<std::int64_t> sys_times(UserAddress out) {
    constexpr Nanoseconds tick = ns_per_s / 100;
    Process& process = *current_process();
    std::uint64_t user = process.user_cycles;
    std::uint64_t system = process.system_cycles;
    for (const Thread& thread : process.threads) {
        user += thread.user_cycles;
        system += thread.system_cycles;
    }
    if (out != 0) {
        const std::uint64_t times[4] = {cycles_to_ns(user) / tick, cycles_to_ns(system) / tick,
                                        cycles_to_ns(process.children_user_cycles) / tick,
                                        cycles_to_ns(process.children_system_cycles) / tick};
        TRY(copy_to_user(out, times, sizeof times));
    }
    return static_cast<std::int64_t>(monotonic_ns() / tick);
}
CERO_SYSCALL(100, times);

} // namespace
} // namespace kernel
