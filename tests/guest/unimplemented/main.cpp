// SPDX-License-Identifier: BSD-2-Clause
// What:   hypercall numbers that have no meaning, and operations that are left out.
// Why:    a guest may pass any number; none may reach something else, or harm.
// How:    numbers without a call, beyond the table, and with upper bits set.
// Expect: -ENOSYS, all other registers as they were, and one line in the log that names operation
// and domain.
#include "runtime.hpp"

#include <cero/abi/sysctl.h>

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

namespace {

char log_text[64 * 1024];

/// How often the log has the text.
unsigned count_in_log(const char* text) {
    static cero_sysctl request;
    request.cmd = CERO_SYSCTL_readconsole;
    request.interface_version = CERO_SYSCTL_INTERFACE_VERSION;
    request.u.readconsole = {};
    request.u.readconsole.buffer = address(log_text);
    request.u.readconsole.count = sizeof log_text;
    check_equal("the log is read", hypercall(CERO_HYPERCALL_sysctl, address(&request)), 0);
    unsigned found = 0;
    for (unsigned at = 0; at < request.u.readconsole.count; ++at) {
        unsigned length = 0;
        while (text[length] != 0 && at + length < request.u.readconsole.count &&
               log_text[at + length] == text[length])
            ++length;
        if (text[length] == 0)
            ++found;
    }
    return found;
}

/// In Cero's log, that is: other hypervisors keep quiet.
void names_in_log() {
    static char extra[17];
    hypercall(CERO_HYPERCALL_xen_version, CERO_XENVER_extraversion, address(extra));
    if (extra[3] != 'c')
        return;
    check_equal("not yet", count_in_log("tmem_op"), 0);
    static cero_multicall_entry calls[2] = {{CERO_HYPERCALL_xenpmu_op, 0, {}},
                                            {CERO_HYPERCALL_grant_table_op, 0, {9, 0, 1}}};
    for (unsigned round = 0; round < 3; ++round) {
        check_equal("left out", hypercall(CERO_HYPERCALL_tmem_op, round), -CERO_ENOSYS);
        check_equal("an operation of another", hypercall(CERO_HYPERCALL_event_channel_op, 11, 0),
                    -CERO_ENOSYS);
        check_equal("and one more", hypercall(CERO_HYPERCALL_event_channel_op, 12, 0),
                    -CERO_ENOSYS);
        check_equal("in a multicall", multicall(calls, 2), 0);
        check_equal("the first of it", calls[0].result, -CERO_ENOSYS);
        check_equal("the second", calls[1].result, -CERO_ENOSYS);
    }
    check_equal("a hypercall, once", count_in_log("d0: tmem_op (hypercall 38): left out"), 1);
    check_equal("an operation, once",
                count_in_log("d0: event_channel_op (hypercall 32), command 11: left out"), 1);
    check_equal("another, once",
                count_in_log("d0: event_channel_op (hypercall 32), command 12: left out"), 1);
    check_equal("in a multicall, once", count_in_log("d0: xenpmu_op (hypercall 40): left out"), 1);
    check_equal("with its command, once",
                count_in_log("d0: grant_table_op (hypercall 20), command 9: left out"), 1);
    check_equal("multicall is not blamed", count_in_log("d0: multicall"), 0);
}

} // namespace

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
    names_in_log();
}
