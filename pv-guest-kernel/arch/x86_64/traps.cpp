// SPDX-License-Identifier: BSD-2-Clause
// Exceptions: the table given to the hypervisor, faults of programs, faults of the kernel, the way
// back.
#include "arch/x86_64/traps.hpp"

#include "arch/x86_64/cpu.hpp"
#include "arch/x86_64/hypercalls.hpp"
#include "event/upcall.hpp"
#include "mm/address_space.hpp"
#include "process/process.hpp"
#include "process/signal.hpp"
#include "sched/thread.hpp"
#include "sched/timer_queue.hpp"

#include <kernel/log.hpp>

extern "C" {
#define DECLARE_TRAP(name) void trap_##name();
DECLARE_TRAP(divide_error)
DECLARE_TRAP(debug)
DECLARE_TRAP(nmi)
DECLARE_TRAP(breakpoint)
DECLARE_TRAP(overflow)
DECLARE_TRAP(bounds)
DECLARE_TRAP(invalid_opcode)
DECLARE_TRAP(no_device)
DECLARE_TRAP(double_fault)
DECLARE_TRAP(invalid_tss)
DECLARE_TRAP(no_segment)
DECLARE_TRAP(stack_fault)
DECLARE_TRAP(general_protection)
DECLARE_TRAP(page_fault)
DECLARE_TRAP(fp_error)
DECLARE_TRAP(alignment)
DECLARE_TRAP(machine_check)
DECLARE_TRAP(simd_error)
DECLARE_TRAP(control_protection)
DECLARE_TRAP(event)
DECLARE_TRAP(failsafe)
DECLARE_TRAP(syscall)
#undef DECLARE_TRAP

struct FixupEntry {
    std::uint64_t instruction;
    std::uint64_t handler;
};
extern const FixupEntry extable_start[], extable_end[];

void handle_trap(kernel::TrapFrame* frame, unsigned vector);
void finish_user_return(kernel::TrapFrame* frame);
}

namespace kernel {
namespace {

enum Vector : unsigned {
    divide_error = 0,
    debug = 1,
    nmi = 2,
    breakpoint = 3,
    overflow = 4,
    bounds = 5,
    invalid_opcode = 6,
    no_device = 7,
    general_protection = 13,
    page_fault = 14,
    fp_error = 16,
    alignment = 17,
    simd_error = 19,
};

constexpr std::uint8_t from_programs = 3; // privilege level from which INT n may be used
constexpr std::uint8_t masked = CERO_TRAP_MASK_EVENTS;

cero_trap_info trap(std::uint8_t vector, std::uint8_t flags, void (*entry)()) noexcept {
    return {vector, flags, CERO_FLAT_RING3_CS64, 0, reinterpret_cast<std::uint64_t>(entry)};
}

bool apply_fixup(TrapFrame& frame) noexcept {
    for (const FixupEntry* entry = extable_start; entry != extable_end; ++entry) {
        if (entry->instruction == frame.rip) {
            frame.rip = entry->handler;
            return true;
        }
    }
    return false;
}

[[noreturn]] void kernel_fault(const TrapFrame& frame, unsigned vector, std::uint64_t address) {
    printk(Level::error, "exception %u, error code %llx, at %llx (stack %llx, address %llx)",
           vector, static_cast<unsigned long long>(frame.error_code),
           static_cast<unsigned long long>(frame.rip), static_cast<unsigned long long>(frame.rsp),
           static_cast<unsigned long long>(address));
    printk(Level::error, "rax %016llx rbx %016llx rcx %016llx rdx %016llx",
           static_cast<unsigned long long>(frame.rax), static_cast<unsigned long long>(frame.rbx),
           static_cast<unsigned long long>(frame.rcx), static_cast<unsigned long long>(frame.rdx));
    printk(Level::error, "rsi %016llx rdi %016llx rbp %016llx r8 %016llx",
           static_cast<unsigned long long>(frame.rsi), static_cast<unsigned long long>(frame.rdi),
           static_cast<unsigned long long>(frame.rbp), static_cast<unsigned long long>(frame.r8));
    print_backtrace(frame.rip, frame.rbp);
    panic("unexpected exception %u in the kernel", vector);
}

struct UserFault {
    int signal;
    int code;
};
UserFault user_fault(unsigned vector) noexcept {
    switch (vector) {
    case divide_error:
        return {sig_fpe, 1}; // FPE_INTDIV
    case debug:
        return {sig_trap, 1}; // TRAP_BRKPT
    case breakpoint:
        return {sig_trap, 0x80}; // SI_KERNEL
    case invalid_opcode:
        return {sig_ill, 2}; // ILL_ILLOPN
    case fp_error:
    case simd_error:
        return {sig_fpe, 7}; // FPE_FLTINV
    case alignment:
        return {sig_bus, 1}; // BUS_ADRALN
    default:
        return {sig_segv, 0x80};
    }
}

void handle_page_fault(TrapFrame& frame) {
    const std::uint64_t address = this_vcpu_info().arch.cr2;
    const bool from_user = frame.from_user();
    const bool restore = (frame.rflags & rflags_interrupt) != 0;
    if (restore)
        unmask_events();
    if (address < user_limit && current()->process != nullptr && !in_event_context()) {
        const FaultKind kind{(frame.error_code & 2) != 0, (frame.error_code & 16) != 0, from_user};
        const FaultResult result = current()->process->space->fault(address, kind);
        if (result.handled)
            return;
        if (from_user) {
            force_signal({.signal = result.signal, .code = result.code, .address = address});
            return;
        }
    } else if (from_user) {
        force_signal({.signal = sig_segv, .code = 1, .address = address});
        return;
    }
    if (!apply_fixup(frame))
        kernel_fault(frame, page_fault, address);
}

} // namespace

void print_backtrace(std::uint64_t rip, std::uint64_t rbp) noexcept {
    printk(Level::error, "  called from %llx", static_cast<unsigned long long>(rip));
    const auto stack = stack_pointer() & ~(kernel_stack_size - 1);
    for (unsigned depth = 0; depth < 16 && rbp >= stack && rbp < stack + kernel_stack_size - 16;
         ++depth) {
        const auto* frame = reinterpret_cast<const std::uint64_t*>(rbp);
        printk(Level::error, "  called from %llx", static_cast<unsigned long long>(frame[1]));
        if (frame[0] <= rbp)
            break;
        rbp = frame[0];
    }
}

void init_traps() noexcept {
    const cero_trap_info table[] = {
        trap(0, 0, trap_divide_error),
        trap(1, 0, trap_debug),
        trap(3, from_programs, trap_breakpoint),
        trap(4, from_programs, trap_overflow),
        trap(5, 0, trap_bounds),
        trap(6, 0, trap_invalid_opcode),
        trap(7, 0, trap_no_device),
        trap(8, 0, trap_double_fault),
        trap(10, 0, trap_invalid_tss),
        trap(11, 0, trap_no_segment),
        trap(12, 0, trap_stack_fault),
        trap(13, 0, trap_general_protection),
        trap(14, masked, trap_page_fault),
        trap(16, 0, trap_fp_error),
        trap(17, 0, trap_alignment),
        trap(18, 0, trap_machine_check),
        trap(19, 0, trap_simd_error),
        trap(21, 0, trap_control_protection),
        {},
    };
    const auto entry = [](void (*function)()) { return reinterpret_cast<const void*>(function); };
    if (hyper::set_trap_table(table) != 0 ||
        hyper::register_callback(CERO_CALLBACKTYPE_event, 0, entry(trap_event)) != 0 ||
        hyper::register_callback(CERO_CALLBACKTYPE_failsafe, CERO_CALLBACKF_mask_events,
                                 entry(trap_failsafe)) != 0 ||
        hyper::register_callback(CERO_CALLBACKTYPE_syscall, 0, entry(trap_syscall)) != 0)
        panic("the hypervisor refused the trap table");
}

} // namespace kernel

using namespace kernel; // NOLINT: the two functions that assembly calls

void handle_trap(TrapFrame* frame, unsigned vector) {
    frame->cs &= 0xffff; // the rest is the event mask before the trap; rflags shows the same
    const bool from_user = frame->from_user();
    if (from_user)
        account_user(*current(), read_tsc());
    if (vector == VECTOR_EVENT) {
        dispatch_events();
    } else if (vector == page_fault) {
        handle_page_fault(*frame);
    } else if (from_user) {
        if (vector == VECTOR_FAILSAFE)
            unmask_events();
        const UserFault fault = user_fault(vector);
        force_signal({.signal = fault.signal, .code = fault.code, .address = frame->rip});
    } else if (!apply_fixup(*frame)) {
        kernel_fault(*frame, vector, 0);
    }
    frame->error_code = 0;
    if (from_user)
        finish_user_return(frame);
}

/// Everything that must happen before a return to user mode. Leaves events masked; the iret
/// hypercall unmasks them.
void finish_user_return(TrapFrame* frame) {
    Thread& self = *current();
    for (;;) {
        mask_events();
        if (need_resched()) {
            unmask_events();
            schedule();
            continue;
        }
        if (self.signal_check) {
            unmask_events();
            deliver_signals(*frame);
            continue;
        }
        if (timer_needs_programming())
            program_timer();
        break;
    }
    frame->rflags |= rflags_interrupt;
    account_system(self, read_tsc());
}
