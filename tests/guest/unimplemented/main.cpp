// SPDX-License-Identifier: BSD-2-Clause
// What:   hypercall numbers that have no meaning.
// Why:    a guest may pass any number; none may reach something else, or harm.
// How:    numbers without a call, beyond the table, and with upper bits set.
// Expect: -ENOSYS, and all other registers as they were.
#include "runtime.hpp"

using namespace guest;

// long probe_registers(number): a hypercall with known values in the registers that it must keep.
asm(R"(
        .text
probe_registers:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        mov $1, %ebx
        mov $2, %ebp
        mov $3, %r9d
        mov $4, %r12d
        mov $5, %r13d
        mov $6, %r14d
        mov $7, %r15d
        mov %edi, %eax
        syscall
        mov %rbx, probe_after(%rip)
        mov %rbp, probe_after+8(%rip)
        mov %r9, probe_after+16(%rip)
        mov %r12, probe_after+24(%rip)
        mov %r13, probe_after+32(%rip)
        mov %r14, probe_after+40(%rip)
        mov %r15, probe_after+48(%rip)
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret
)");
extern "C" {
long probe_registers(Word number);
Word probe_after[7];
}

void guest::test_main() {
    for (const unsigned number : {11u, 43u, 47u, 55u, 56u, 63u, 64u, 65u, 255u, 4096u, 0x7fffffffu,
                                  0x80000000u, 0xffffffffu}) {
        const long result = hypercall(number);
        if (result != -CERO_ENOSYS)
            print("number 0x%x", number);
        check_equal("meaningless number", result, -CERO_ENOSYS);
    }
    check_equal("result", probe_registers(63), -CERO_ENOSYS);
    for (unsigned i = 0; i < 7; ++i)
        check_equal("rbx, rbp, r9, r12 to r15 are kept", static_cast<long>(probe_after[i]), i + 1);
}
