// SPDX-License-Identifier: BSD-2-Clause
// The system-call table, filled from the rows that CERO_SYSCALL left in the image, and the way in.
#include "syscall/table.hpp"

#include "arch/x86_64/cpu.hpp"
#include "process/process.hpp"
#include "sched/thread.hpp"

#include <kernel/log.hpp>
#include <kernel/syscall.hpp>

#include <cero/abi/trap.h>

extern "C" {
extern const kernel::SyscallRow syscalls_start[], syscalls_end[];
void handle_syscall(kernel::TrapFrame* frame);
void finish_user_return(kernel::TrapFrame* frame);
}

namespace kernel {
namespace {

constexpr unsigned table_size = 512; // a power of two above every number in use
using Handler = std::int64_t (*)(const SyscallArguments&);
Handler table[table_size];
bool reported[table_size];

constexpr std::uint64_t number_rt_sigreturn = 15;

std::int64_t unknown(std::uint64_t number) noexcept {
    if (number < table_size && !reported[number]) {
        reported[number] = true;
        printk(Level::notice, "%s (%d) used system call %llu, which this kernel does not have",
               current()->name, current()->tid, static_cast<unsigned long long>(number));
    }
    return -static_cast<std::int64_t>(Errno::nosys);
}

} // namespace

void init_syscalls() noexcept {
    for (const SyscallRow* row = syscalls_start; row != syscalls_end; ++row) {
        KERNEL_ASSERT(row->number < table_size && table[row->number] == nullptr);
        table[row->number] = row->handler;
    }
}

} // namespace kernel

using namespace kernel; // NOLINT: the function that assembly calls

void handle_syscall(TrapFrame* frame) {
    Thread& self = *current();
    account_user(self, read_tsc());
    const std::uint64_t number = frame->error_code;
    if (number == number_rt_sigreturn) {
        static_cast<void>(return_from_handler(*frame));
        frame->error_code = 0;
    } else {
        const SyscallArguments arguments{
            {frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9}};
        const Handler handler = number < table_size ? table[number & (table_size - 1)] : nullptr;
        const std::int64_t result = handler != nullptr ? handler(arguments) : unknown(number);
        if (result == -static_cast<std::int64_t>(Errno::restart)) [[unlikely]] {
            self.restart_number = number;
            self.signal_check = true;
        }
        if (self.restore_blocked) [[unlikely]]
            self.signal_check = true; // so that the mask comes back on the way out
        // The quick way back loses rcx and r11, as the instruction did; exec and handlers want all
        // registers.
        if (number == 59 || number == 322) {
            if (result != 0)
                frame->rax = static_cast<std::uint64_t>(result);
            frame->error_code = 0;
        } else {
            frame->rax = static_cast<std::uint64_t>(result);
            frame->error_code = CERO_VGCF_in_syscall;
        }
    }
    finish_user_return(frame);
}
