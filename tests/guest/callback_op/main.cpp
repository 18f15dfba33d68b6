// SPDX-License-Identifier: BSD-2-Clause
// What:   callback_op and set_callbacks: each type, bad types and addresses, unregistering.
// Why:    events, system calls and failed returns reach the guest kernel only through these.
// How:    registers and unregisters; the entry points of the runtime stay in use.
// Expect: 0; -EINVAL for a non-canonical address; -ENOSYS for unknown commands and types; -EFAULT.
#include "runtime.hpp"

using namespace guest;

extern "C" {
void rt_event_callback();
void rt_failsafe_callback();
void rt_syscall_callback();
}

namespace {

long set(Word command, std::uint16_t type, Word where, std::uint16_t flags = 0) {
    cero_callback_register callback{type, flags, 0, where};
    return callback_op(command, &callback);
}

} // namespace

void guest::test_main() {
    const auto event = reinterpret_cast<Word>(rt_event_callback);
    const auto syscall = reinterpret_cast<Word>(rt_syscall_callback);
    const auto fail = reinterpret_cast<Word>(rt_failsafe_callback);
    check_equal("event", set(CERO_CALLBACKOP_register, CERO_CALLBACKTYPE_event, event), 0);
    check_equal(
        "failsafe, masking",
        set(CERO_CALLBACKOP_register, CERO_CALLBACKTYPE_failsafe, fail, CERO_CALLBACKF_mask_events),
        0);
    check_equal("syscall, masking",
                set(CERO_CALLBACKOP_register, CERO_CALLBACKTYPE_syscall, syscall,
                    CERO_CALLBACKF_mask_events),
                0);
    check_equal("NMI", set(CERO_CALLBACKOP_register, CERO_CALLBACKTYPE_nmi, event), 0);
    check_equal("unregister NMI", set(CERO_CALLBACKOP_unregister, CERO_CALLBACKTYPE_nmi, 0), 0);

    constexpr std::uint16_t of_32_bit_programs[] = {CERO_CALLBACKTYPE_sysenter,
                                                    CERO_CALLBACKTYPE_syscall32};
    for (const std::uint16_t type : of_32_bit_programs) {
        check_equal("system call of 32-bit programs",
                    set(CERO_CALLBACKOP_register, type, syscall, CERO_CALLBACKF_mask_events), 0);
        check_equal("non-canonical", set(CERO_CALLBACKOP_register, type, noncanonical_address),
                    -CERO_EINVAL);
        check_equal("unregister it", set(CERO_CALLBACKOP_unregister, type, 0), -CERO_EINVAL);
    }

    enable_events();
    const Trap trap = run_user([](Word) { user_syscall(7); }, 0);
    check_trap("system call", trap, syscall_entry);
    check_equal("its handler is entered with events masked", vcpu_info().evtchn_upcall_mask, 1);
    check_equal("the frame tells the mask from before", trap.regs.saved_upcall_mask(), 0);
    disable_events();

    check_equal("non-canonical address",
                set(CERO_CALLBACKOP_register, CERO_CALLBACKTYPE_event, noncanonical_address),
                -CERO_EINVAL);
    check_equal("unknown type", set(CERO_CALLBACKOP_register, 99, event), -CERO_ENOSYS);
    check_equal("unregister an unknown type", set(CERO_CALLBACKOP_unregister, 99, 0), -CERO_ENOSYS);
    check_equal("unregister event", set(CERO_CALLBACKOP_unregister, CERO_CALLBACKTYPE_event, 0),
                -CERO_EINVAL);
    check_equal("unknown command", set(9, CERO_CALLBACKTYPE_event, event), -CERO_ENOSYS);
    check_equal("bad argument",
                hypercall(CERO_HYPERCALL_callback_op, CERO_CALLBACKOP_register, unmapped_address),
                -CERO_EFAULT);

    check_equal("set_callbacks", hypercall(CERO_HYPERCALL_set_callbacks, event, fail, syscall), 0);
    check_trap("system call after set_callbacks", run_user([](Word) { user_syscall(8); }, 0),
               syscall_entry);
}
