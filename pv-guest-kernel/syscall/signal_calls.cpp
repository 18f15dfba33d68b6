// SPDX-License-Identifier: BSD-2-Clause
// System calls on signals.
#include "process/process.hpp"

#include <kernel/sync.hpp>
#include <kernel/syscall.hpp>

namespace kernel {
namespace {

constexpr std::size_t set_size = 8;

SignalInfo from_current(int signal, int code) noexcept {
    const Process& self = *current_process();
    SignalInfo info;
    info.signal = signal;
    info.code = code;
    info.pid = self.pid;
    info.uid = self.credentials.uid;
    return info;
}

bool may_signal(const Process& target, int signal) noexcept {
    const Process& self = *current_process();
    const Credentials& mine = self.credentials;
    const Credentials& theirs = target.credentials;
    return mine.euid == 0 || mine.euid == theirs.uid || mine.uid == theirs.uid ||
           mine.euid == theirs.suid || mine.uid == theirs.suid ||
           (signal == sig_cont && self.session == target.session);
}

Status signal_one(Process* target, int signal, int code) noexcept {
    if (target == nullptr)
        return Errno::srch;
    if (!may_signal(*target, signal))
        return Errno::perm;
    if (signal != 0)
        send_signal(*target, from_current(signal, code));
    return {};
}

Status sys_kill(int pid, int signal) {
    if (signal < 0 || signal > sig_count)
        return Errno::inval;
    Process& self = *current_process();
    if (pid > 0)
        return signal_one(find_process(pid), signal, code_user);
    const int group = pid == 0 ? self.group : -pid;
    bool any = false;
    bool allowed = false;
    EventGuard guard;
    for (Process& process : all_processes()) {
        if (pid == -1 ? process.pid == 1 || &process == &self : process.group != group)
            continue;
        any = true;
        if (signal_one(&process, signal, code_user))
            allowed = true;
    }
    return !any ? Errno::srch : allowed ? Errno::ok : Errno::perm;
}
CERO_SYSCALL(62, kill);

Status sys_tgkill(int pid, int tid, int signal) {
    if (signal < 0 || signal > sig_count || tid <= 0)
        return Errno::inval;
    Thread* thread = find_thread(tid);
    if (thread == nullptr || thread->process == nullptr ||
        (pid != -1 && thread->process->pid != pid))
        return Errno::srch;
    if (!may_signal(*thread->process, signal))
        return Errno::perm;
    if (signal != 0)
        send_signal(*thread, from_current(signal, code_tkill));
    return {};
}
CERO_SYSCALL(234, tgkill);

Status sys_tkill(int tid, int signal) {
    return sys_tgkill(-1, tid, signal);
}
CERO_SYSCALL(200, tkill);

Status queue_info(UserAddress from, SignalInfo& info) noexcept {
    struct {
        std::int32_t signal, error, code, pad, pid;
        std::uint32_t uid;
        std::uint64_t value;
    } in;
    TRY(copy_from_user(&in, from, sizeof in));
    info.code = in.code;
    info.pid = in.pid;
    info.uid = in.uid;
    info.value = in.value;
    return {};
}

Status sys_rt_sigqueueinfo(int pid, int signal, UserAddress from) {
    Process* target = find_process(pid);
    if (signal <= 0 || signal > sig_count)
        return Errno::inval;
    if (target == nullptr)
        return Errno::srch;
    if (!may_signal(*target, signal))
        return Errno::perm;
    SignalInfo info = from_current(signal, code_queue);
    TRY(queue_info(from, info));
    send_signal(*target, info);
    return {};
}
CERO_SYSCALL(129, rt_sigqueueinfo);

Status sys_rt_sigaction(int signal, UserAddress in, UserAddress old, std::size_t size) {
    if (size != set_size || signal < 1 || signal > sig_count ||
        (in != 0 && (signal == sig_kill || signal == sig_stop)))
        return Errno::inval;
    Process& process = *current_process();
    const SignalAction before = process.actions[signal - 1];
    if (in != 0) {
        SignalAction wanted = TRY(read_user<SignalAction>(in));
        wanted.mask &= ~unblockable_signals;
        EventGuard guard;
        process.actions[signal - 1] = wanted;
        const bool discards =
            wanted.handler == handler_ignore ||
            (wanted.handler == handler_default && (signal == sig_chld || signal == sig_urg ||
                                                   signal == sig_winch || signal == sig_cont));
        if (discards) {
            process.pending.remove(signal_bit(signal));
            for (Thread& thread : process.threads) {
                thread.pending.remove(signal_bit(signal));
                update_signal_check(thread);
            }
        }
    }
    return old == 0 ? Status{} : write_user(old, before);
}
CERO_SYSCALL(13, rt_sigaction);

Status sys_rt_sigprocmask(int how, UserAddress in, UserAddress old, std::size_t size) {
    if (size != set_size)
        return Errno::inval;
    Thread& self = *current();
    const std::uint64_t before = self.blocked;
    if (in != 0) {
        const auto set = TRY(read_user<std::uint64_t>(in));
        switch (how) {
        case 0:
            set_blocked(self, before | set);
            break;
        case 1:
            set_blocked(self, before & ~set);
            break;
        case 2:
            set_blocked(self, set);
            break;
        default:
            return Errno::inval;
        }
    }
    return old == 0 ? Status{} : write_user(old, before);
}
CERO_SYSCALL(14, rt_sigprocmask);

Status sys_rt_sigpending(UserAddress out, std::size_t size) {
    if (size != set_size)
        return Errno::inval;
    return write_user(out, pending_signals() & current()->blocked);
}
CERO_SYSCALL(127, rt_sigpending);

/// Sleeps until a handler has run; the mask comes back afterwards.
Status wait_for_signal() noexcept {
    WaitQueue nobody;
    static_cast<void>(nobody.wait_interruptible([] { return false; }));
    return Errno::intr;
}

Status sys_rt_sigsuspend(UserAddress in, std::size_t size) {
    if (size != set_size)
        return Errno::inval;
    const auto set = TRY(read_user<std::uint64_t>(in));
    set_temporary_signal_mask(set);
    return wait_for_signal();
}
CERO_SYSCALL(130, rt_sigsuspend);

Status sys_pause() {
    return wait_for_signal();
}
CERO_SYSCALL(34, pause);

Result<std::int64_t> sys_rt_sigtimedwait(UserAddress in, UserAddress out, UserAddress timeout,
                                         std::size_t size) {
    if (size != set_size)
        return Errno::inval;
    const auto set = TRY(read_user<std::uint64_t>(in))
    &~unblockable_signals;
    Nanoseconds deadline = WaitQueue::no_deadline;
    if (timeout != 0) {
        struct {
            std::int64_t seconds, nanoseconds;
        } time;
        TRY(copy_from_user(&time, timeout, sizeof time));
        constexpr std::int64_t longest = 1LL << 33;
        if (time.seconds < 0 || time.nanoseconds < 0)
            return Errno::inval;
        if (time.seconds > longest)
            time.seconds = longest;
        deadline = monotonic_ns() + static_cast<Nanoseconds>(time.seconds) * ns_per_s +
                   static_cast<Nanoseconds>(time.nanoseconds);
    }
    // The wanted signals must wake this thread although they are blocked.
    Thread& self = *current();
    const std::uint64_t blocked = self.blocked;
    self.awaited = set;
    set_blocked(self, blocked & ~set);
    SignalInfo info;
    bool taken = false;
    WaitQueue nobody;
    const auto take = [&] {
        EventGuard guard;
        taken = self.pending.take(set, info) || self.process->pending.take(set, info);
        return taken;
    };
    const Status waited = nobody.wait_until_interruptible(deadline, take);
    if (!taken)
        take();
    self.awaited = 0;
    set_blocked(self, blocked);
    if (!taken)
        return waited.error() == Errno::timedout ? Errno::again : Errno::intr;
    if (out != 0) {
        struct {
            std::int32_t signal, error, code, pad, pid;
            std::uint32_t uid;
            std::int32_t status, rest[25];
        } user{};
        static_assert(sizeof user == 128);
        user.signal = info.signal;
        user.code = info.code;
        user.pid = info.pid;
        user.uid = info.uid;
        user.status = info.status;
        TRY(write_user(out, user));
    }
    return info.signal;
}
CERO_SYSCALL(128, rt_sigtimedwait);

Status sys_sigaltstack(UserAddress in, UserAddress old) {
    struct UserStack {
        std::uint64_t base;
        std::int32_t flags;
        std::uint32_t pad;
        std::uint64_t size;
    };
    constexpr std::int32_t disable = 2;
    constexpr std::int32_t on_stack = 1;
    constexpr std::uint64_t smallest = 2048;
    Thread& self = *current();
    const SignalStack before = self.signal_stack;
    const std::uint64_t rsp = self.user_frame().rsp;
    const bool active =
        (before.flags & disable) == 0 && rsp > before.base && rsp <= before.base + before.size;
    if (in != 0) {
        const auto wanted = TRY(read_user<UserStack>(in));
        if (active)
            return Errno::perm;
        if ((wanted.flags & disable) != 0) {
            self.signal_stack = {};
        } else {
            if (wanted.size < smallest)
                return Errno::nomem;
            self.signal_stack = {wanted.base, wanted.size, 0};
        }
    }
    return old == 0 ? Status{}
                    : write_user(old, UserStack{before.base, active ? on_stack : before.flags, 0,
                                                before.size});
}
CERO_SYSCALL(131, sigaltstack);

} // namespace
} // namespace kernel
