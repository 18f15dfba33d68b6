// SPDX-License-Identifier: BSD-2-Clause
// Sending signals, default actions, job-control stops, and entering and leaving handlers.
#include "process/signal.hpp"

#include "arch/x86_64/hypercalls.hpp"
#include "arch/x86_64/user_context.hpp"
#include "process/process.hpp"

#include <kernel/log.hpp>
#include <kernel/poll.hpp>
#include <kernel/user_copy.hpp>

#include <cstring>

namespace kernel {
namespace {

enum class DefaultAction { terminate, core, ignore, stop, resume };

DefaultAction default_action(int signal) noexcept {
    switch (signal) {
    case sig_quit:
    case sig_ill:
    case sig_trap:
    case sig_abrt:
    case sig_bus:
    case sig_fpe:
    case sig_segv:
    case 24: // SIGXCPU
    case 25: // SIGXFSZ
    case 31: // SIGSYS
        return DefaultAction::core;
    case sig_chld:
    case sig_urg:
    case sig_winch:
        return DefaultAction::ignore;
    case sig_stop:
    case sig_tstp:
    case sig_ttin:
    case sig_ttou:
        return DefaultAction::stop;
    case sig_cont:
        return DefaultAction::resume;
    default:
        return DefaultAction::terminate;
    }
}

constexpr std::uint64_t stop_signals =
    signal_bit(sig_stop) | signal_bit(sig_tstp) | signal_bit(sig_ttin) | signal_bit(sig_ttou);

PollQueue arrivals;

bool is_ignored(const Process& process, int signal) noexcept {
    const SignalAction& action = process.actions[signal - 1];
    if (action.handler == handler_ignore)
        return signal != sig_kill && signal != sig_stop;
    if (process.pid == 1 && action.handler == handler_default && signal != sig_cont)
        return true; // init gets only what it asked for
    return action.handler == handler_default && default_action(signal) == DefaultAction::ignore;
}

void resume_process(Process& process) noexcept {
    process.pending.remove(stop_signals);
    for (Thread& thread : process.threads)
        thread.pending.remove(stop_signals);
    if (!process.stopped)
        return;
    process.stopped = false;
    process.stop_reported = true;
    process.continue_reported = false;
    for (Thread& thread : process.threads)
        if (thread.state == ThreadState::stopped)
            make_runnable(thread);
    notify_parent(process, cld_continued, sig_cont);
}

/// Common part of both sends: true if the signal is to be queued.
bool accept(Process& process, int signal, std::uint64_t blocked) noexcept {
    if (process.state != ProcessState::alive)
        return false;
    if (signal == sig_cont || signal == sig_kill)
        resume_process(process);
    if ((signal_bit(signal) & stop_signals) != 0) {
        process.pending.remove(signal_bit(sig_cont));
        for (Thread& thread : process.threads)
            thread.pending.remove(signal_bit(sig_cont));
    }
    return !is_ignored(process, signal) || (blocked & signal_bit(signal)) != 0;
}

} // namespace

PollQueue& signal_arrivals() noexcept {
    return arrivals;
}

void update_signal_check(Thread& thread) noexcept {
    EventGuard guard;
    const Process* process = thread.process;
    std::uint64_t pending = thread.pending.bits();
    bool stopped = false;
    if (process != nullptr) {
        pending |= process->pending.bits();
        stopped = process->stopped;
    }
    thread.signal_check = thread.kill_pending || stopped || (pending & ~thread.blocked) != 0;
}

void set_blocked(Thread& thread, std::uint64_t set) noexcept {
    thread.blocked = set & ~unblockable_signals;
    update_signal_check(thread);
}

void set_temporary_signal_mask(std::uint64_t mask) noexcept {
    Thread& self = *current();
    self.saved_blocked = self.blocked;
    self.restore_blocked = true;
    set_blocked(self, mask);
}

void send_signal(Process& process, const SignalInfo& info) noexcept {
    EventGuard guard;
    std::uint64_t blocked_everywhere = ~std::uint64_t{0};
    for (Thread& thread : process.threads)
        blocked_everywhere &= thread.blocked | thread.awaited;
    if (!accept(process, info.signal, blocked_everywhere))
        return;
    process.pending.add(info);
    Thread* chosen = nullptr;
    for (Thread& thread : process.threads) {
        if ((thread.blocked & signal_bit(info.signal)) != 0)
            continue;
        if (chosen == nullptr || thread.state == ThreadState::interruptible)
            chosen = &thread;
    }
    if (chosen != nullptr) {
        chosen->signal_check = true;
        interrupt_thread(*chosen);
        if (info.signal == sig_kill && chosen->state == ThreadState::stopped)
            make_runnable(*chosen);
    }
    arrivals.notify(poll_event::readable);
}

void send_signal(Thread& thread, const SignalInfo& info) noexcept {
    EventGuard guard;
    if (thread.process == nullptr ||
        !accept(*thread.process, info.signal, thread.blocked | thread.awaited))
        return;
    thread.pending.add(info);
    update_signal_check(thread);
    if (thread.signal_check)
        interrupt_thread(thread);
    arrivals.notify(poll_event::readable);
}

void force_signal(const SignalInfo& info) noexcept {
    Thread& self = *current();
    EventGuard guard;
    SignalAction& action = self.process->actions[info.signal - 1];
    const std::uint64_t bit = signal_bit(info.signal);
    if ((self.blocked & bit) != 0 || action.handler == handler_ignore) {
        action.handler = handler_default;
        self.blocked &= ~bit;
    }
    self.pending.remove(bit);
    self.pending.add(info);
    self.signal_check = true;
}

void notify_parent(Process& child, int code, int status) noexcept {
    Process* parent = child.parent;
    if (parent == nullptr)
        return;
    const SignalAction& action = parent->actions[sig_chld - 1];
    const bool is_stop = code == cld_stopped || code == cld_continued;
    if (child.exit_signal != 0 && !(is_stop && (action.flags & sa_flag::no_child_stop) != 0)) {
        SignalInfo info;
        info.signal = is_stop ? sig_chld : child.exit_signal;
        info.code = code;
        info.pid = child.pid;
        info.uid = child.credentials.uid;
        info.status = status;
        send_signal(*parent, info);
    }
    parent->child_events.wake_all();
}

void reset_handlers(Process& process) noexcept {
    for (SignalAction& action : process.actions) {
        const bool ignored = action.handler == handler_ignore;
        action = {};
        if (ignored)
            action.handler = handler_ignore;
    }
}

namespace {

// The frame that a handler finds on its stack, and that sigreturn reads back. Layouts of the ABI.
struct MachineContext {
    std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
        rflags;
    std::uint16_t cs, gs, fs, ss;
    std::uint64_t error, trap, old_mask, cr2;
    std::uint64_t fpu;
    std::uint64_t reserved[8];
};
static_assert(sizeof(MachineContext) == 256);
struct UserContext {
    std::uint64_t flags;
    std::uint64_t link;
    std::uint64_t stack_base;
    std::int32_t stack_flags;
    std::uint32_t pad;
    std::uint64_t stack_size;
    MachineContext machine;
    std::uint64_t mask;
};
struct UserSignalInfo {
    std::int32_t signal;
    std::int32_t error;
    std::int32_t code;
    std::int32_t pad;
    std::uint64_t fields[14];
};
static_assert(sizeof(UserSignalInfo) == 128);
struct HandlerFrame {
    std::uint64_t return_address;
    UserContext context;
    UserSignalInfo info;
};

constexpr std::uint64_t uc_flags = 0x6; // UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS
constexpr std::uint64_t red_zone = 128;
constexpr int ss_disable = 2;

void fill_info(UserSignalInfo& out, const SignalInfo& info) noexcept {
    out.signal = info.signal;
    out.code = info.code;
    const std::uint64_t sender =
        static_cast<std::uint32_t>(info.pid) | (std::uint64_t{info.uid} << 32);
    if (info.code > 0 && info.code != code_kernel &&
        (info.signal == sig_segv || info.signal == sig_bus || info.signal == sig_ill ||
         info.signal == sig_fpe || info.signal == sig_trap)) {
        out.fields[0] = info.address;
    } else {
        out.fields[0] = sender;
        out.fields[1] =
            info.signal == sig_chld ? static_cast<std::uint32_t>(info.status) : info.value;
    }
}

bool on_signal_stack(const Thread& thread, std::uint64_t rsp) noexcept {
    const SignalStack& stack = thread.signal_stack;
    return (stack.flags & ss_disable) == 0 && rsp > stack.base && rsp <= stack.base + stack.size;
}

/// Lays the frame on the user's stack and points the registers at the handler.
Status enter_handler(TrapFrame& frame, const SignalAction& action, const SignalInfo& info,
                     std::uint64_t saved_mask) noexcept {
    Thread& self = *current();
    std::uint64_t stack = frame.rsp;
    if ((action.flags & sa_flag::on_stack) != 0 && (self.signal_stack.flags & ss_disable) == 0 &&
        !on_signal_stack(self, stack))
        stack = self.signal_stack.base + self.signal_stack.size;
    else
        stack -= red_zone;
    const std::size_t state_size = fpu_size();
    const std::uint64_t fpu_at = (stack - state_size - 64) & ~std::uint64_t{63};
    const std::uint64_t frame_at = ((fpu_at - sizeof(HandlerFrame)) & ~std::uint64_t{15}) - 8;
    HandlerFrame out{};
    out.return_address = action.restorer;
    out.context.flags = uc_flags;
    out.context.stack_base = self.signal_stack.base;
    out.context.stack_flags = self.signal_stack.flags;
    out.context.stack_size = self.signal_stack.size;
    out.context.machine = {.r8 = frame.r8,
                           .r9 = frame.r9,
                           .r10 = frame.r10,
                           .r11 = frame.r11,
                           .r12 = frame.r12,
                           .r13 = frame.r13,
                           .r14 = frame.r14,
                           .r15 = frame.r15,
                           .rdi = frame.rdi,
                           .rsi = frame.rsi,
                           .rbp = frame.rbp,
                           .rbx = frame.rbx,
                           .rdx = frame.rdx,
                           .rax = frame.rax,
                           .rcx = frame.rcx,
                           .rsp = frame.rsp,
                           .rip = frame.rip,
                           .rflags = frame.rflags,
                           .cs = 0x33,
                           .gs = 0,
                           .fs = 0,
                           .ss = 0x2b,
                           .error = 0,
                           .trap = 0,
                           .old_mask = saved_mask,
                           .cr2 = info.address,
                           .fpu = fpu_at,
                           .reserved = {}};
    out.context.mask = saved_mask;
    fill_info(out.info, info);
    TRY(copy_to_user(fpu_at, save_fpu(self), state_size));
    TRY(copy_to_user(frame_at, &out, sizeof out));
    frame.rsp = frame_at;
    frame.rip = action.handler;
    frame.rdi = static_cast<std::uint64_t>(info.signal);
    frame.rsi = frame_at + offsetof(HandlerFrame, info);
    frame.rdx = frame_at + offsetof(HandlerFrame, context);
    frame.rax = 0;
    frame.rflags &= ~(rflags_trap | 0x400);
    frame.error_code = 0;
    return {};
}

/// Stops all threads of the current process until SIGCONT or SIGKILL.
void stop_process(int signal) noexcept {
    Process& process = *current()->process;
    {
        EventGuard guard;
        process.stopped = true;
        process.stop_signal = signal;
        process.stop_reported = false;
        process.continue_reported = true;
        for (Thread& thread : process.threads) {
            thread.signal_check = true;
            interrupt_thread(thread);
        }
    }
    notify_parent(process, cld_stopped, signal);
}

void wait_while_stopped() noexcept {
    Thread& self = *current();
    for (;;) {
        EventGuard guard;
        if (!self.process->stopped || self.kill_pending)
            break;
        self.state = ThreadState::stopped;
        schedule();
    }
    update_signal_check(self);
}

constexpr std::uint64_t restart_mark = ~std::uint64_t{0};

/// A system call that returned Errno::restart: run it again, or report EINTR.
void settle_restart(TrapFrame& frame, bool again) noexcept {
    Thread& self = *current();
    if (self.restart_number == restart_mark)
        return;
    if (again) {
        frame.rax = self.restart_number;
        frame.rip -= 2;
    } else {
        frame.rax = static_cast<std::uint64_t>(-static_cast<std::int64_t>(Errno::intr));
    }
    self.restart_number = restart_mark;
}

} // namespace

void deliver_signals(TrapFrame& frame) noexcept {
    Thread& self = *current();
    Process& process = *self.process;
    for (;;) {
        if (self.kill_pending)
            exit_current_thread(process.exit_status);
        if (process.stopped) {
            wait_while_stopped();
            continue;
        }
        SignalInfo info;
        {
            EventGuard guard;
            if (!self.pending.take(~self.blocked, info) &&
                !process.pending.take(~self.blocked, info))
                break;
        }
        SignalAction& action = process.actions[info.signal - 1];
        if (action.handler == handler_ignore)
            continue;
        if (action.handler == handler_default) {
            switch (default_action(info.signal)) {
            case DefaultAction::ignore:
            case DefaultAction::resume:
                continue;
            case DefaultAction::stop:
                if (info.signal != sig_stop && process_group_is_orphaned(process.group))
                    continue;
                stop_process(info.signal);
                continue;
            case DefaultAction::terminate:
            case DefaultAction::core:
                if (process.pid == 1 && info.code <= 0)
                    continue;
                if (info.code > 0 && default_action(info.signal) == DefaultAction::core)
                    printk(Level::info, "%s (%d): signal %d at %llx, rip %llx, rsp %llx", self.name,
                           self.tid, info.signal, static_cast<unsigned long long>(info.address),
                           static_cast<unsigned long long>(frame.rip),
                           static_cast<unsigned long long>(frame.rsp));
                exit_process(info.signal);
            }
        }
        const SignalAction chosen = action;
        settle_restart(frame, (chosen.flags & sa_flag::restart) != 0);
        const std::uint64_t saved = self.restore_blocked ? self.saved_blocked : self.blocked;
        self.restore_blocked = false;
        if ((chosen.flags & sa_flag::reset_hand) != 0)
            action.handler = handler_default;
        if (!enter_handler(frame, chosen, info, saved)) {
            printk(Level::info, "%s (%d): no stack for signal %d", self.name, self.tid,
                   info.signal);
            exit_process(sig_segv);
        }
        std::uint64_t blocked = self.blocked | chosen.mask;
        if ((chosen.flags & sa_flag::no_defer) == 0)
            blocked |= signal_bit(info.signal);
        self.blocked = blocked & ~unblockable_signals;
    }
    settle_restart(frame, true);
    if (self.restore_blocked) {
        self.restore_blocked = false;
        self.blocked = self.saved_blocked;
    }
    update_signal_check(self);
}

std::int64_t return_from_handler(TrapFrame& frame) noexcept {
    Thread& self = *current();
    HandlerFrame in;
    // The handler's `ret` took the return address off.
    if (!copy_from_user(&in, frame.rsp - 8, sizeof in))
        exit_process(sig_segv);
    const MachineContext& machine = in.context.machine;
    const std::uint64_t kept = frame.rflags & ~rflags_user;
    frame.r8 = machine.r8;
    frame.r9 = machine.r9;
    frame.r10 = machine.r10;
    frame.r11 = machine.r11;
    frame.r12 = machine.r12;
    frame.r13 = machine.r13;
    frame.r14 = machine.r14;
    frame.r15 = machine.r15;
    frame.rdi = machine.rdi;
    frame.rsi = machine.rsi;
    frame.rbp = machine.rbp;
    frame.rbx = machine.rbx;
    frame.rdx = machine.rdx;
    frame.rcx = machine.rcx;
    frame.rsp = machine.rsp;
    frame.rip = machine.rip < user_limit ? machine.rip : 0;
    frame.rflags = kept | (machine.rflags & rflags_user);
    frame.rax = machine.rax;
    if (machine.fpu != 0 && !restore_user_fpu(self, machine.fpu))
        exit_process(sig_segv);
    self.signal_stack.base = in.context.stack_base;
    self.signal_stack.size = in.context.stack_size;
    self.signal_stack.flags = in.context.stack_flags & ss_disable;
    set_blocked(self, in.context.mask);
    return static_cast<std::int64_t>(machine.rax);
}

} // namespace kernel
