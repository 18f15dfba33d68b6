// SPDX-License-Identifier: BSD-2-Clause
// What:   the test runtime itself.
// Why:    every other test trusts it: traps are caught, pages change, user mode is entered and
// left, events arrive. How:    one small case of each. Expect: SUCCESS on any hypervisor with this
// ABI; anything else makes the other verdicts worthless.
#include "runtime.hpp"

using namespace guest;

namespace {

Page scratch;

void user_ud2(Word) {
    asm volatile("ud2");
}
void user_answer(Word argument) {
    user_syscall(0x1234, argument + 1);
}

} // namespace

void guest::test_main() {
    print("cmdline \"%s\", %lu pages", start_info->cmd_line, start_info->nr_pages);

    Trap trap = guarded([] { asm volatile("ud2"); });
    check_trap("ud2", trap, invalid_opcode, 0);
    trap = guarded([] { *reinterpret_cast<volatile int*>(unmapped_address) = 1; });
    check_trap("store to an unmapped address", trap, page_fault, 2);
    check_equal("cr2", static_cast<long>(trap.cr2), static_cast<long>(unmapped_address));
    check_true("nothing traps", !guarded([] {}).happened());

    make_readonly(&scratch);
    check_trap("store to a read-only page", guarded([] { scratch.words[0] = 1; }), page_fault, 3);
    make_writable(&scratch);
    check_true("store to a writable page", !guarded([] { scratch.words[0] = 1; }).happened());
    check_equal("machine-to-physical of an own frame",
                static_cast<long>(pfn_of_mfn(mfn_of(&scratch))),
                static_cast<long>(pfn_of(&scratch)));

    trap = run_user(user_ud2, 0);
    check_trap("ud2 in user mode", trap, invalid_opcode, 0);
    check_true("the frame says user mode", trap.regs.from_user());
    trap = run_user(user_answer, 41);
    check_trap("system call", trap, syscall_entry);
    check_equal("system call's number", static_cast<long>(trap.regs.rax), 0x1234);
    check_equal("system call's argument", static_cast<long>(trap.regs.rdi), 42);

    cero_evtchn_bind_ipi ipi{0, 0};
    check_equal("bind_ipi", event_channel_op(CERO_EVTCHNOP_bind_ipi, &ipi), 0);
    unmask_port(ipi.port);
    enable_events();
    cero_evtchn_send send{ipi.port};
    check_equal("send", event_channel_op(CERO_EVTCHNOP_send, &send), 0);
    check_equal("deliveries", static_cast<long>(event_count[ipi.port]), 1);
    disable_events();

    const Word before = system_time();
    check_true("time goes on",
               wait_for([] { return false; }, 1000000) == false && system_time() > before);
}
