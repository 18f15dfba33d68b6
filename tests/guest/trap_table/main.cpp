// SPDX-License-Identifier: BSD-2-Clause
// What:   set_trap_table: partial tables, clearing, bad arguments, the flag that masks events.
// Why:    kernels set the table several times while they start, and expect entries that they do not
// name to stay. How:    sets and clears entries, and provokes the exceptions. Expect: 0; -EINVAL
// for a non-canonical handler; -EFAULT for a bad table.
#include "runtime.hpp"

using namespace guest;

extern "C" const Word rt_trap_stubs[32];

namespace {

cero_trap_info entry(unsigned vector, std::uint8_t flags, Word handler) {
    return {static_cast<std::uint8_t>(vector), flags, CERO_FLAT_RING3_CS64, 0, handler};
}

} // namespace

void guest::test_main() {
    const cero_trap_info one[] = {
        entry(breakpoint, 3 | CERO_TRAP_MASK_EVENTS, rt_trap_stubs[breakpoint]), entry(0, 0, 0)};
    check_equal("one entry", set_trap_table(one), 0);
    check_trap("the others stay", guarded([] { asm volatile("ud2"); }), invalid_opcode);
    enable_events();
    const Trap trap = guarded([] { asm volatile("int3"); });
    check_trap("int3", trap, breakpoint);
    check_equal("the handler is entered with events masked", vcpu_info().evtchn_upcall_mask, 1);
    check_equal("the frame tells the mask from before", trap.regs.saved_upcall_mask(), 0);
    disable_events();

    const cero_trap_info bad[] = {entry(breakpoint, 3, noncanonical_address), entry(0, 0, 0)};
    check_equal("non-canonical handler", set_trap_table(bad), -CERO_EINVAL);
    const cero_trap_info none[] = {entry(0, 0, 0)};
    check_equal("table of nothing", set_trap_table(none), 0);
    check_trap("nothing changed", guarded([] { asm volatile("int3"); }), breakpoint);
    for (const Word where : {hypervisor_address, noncanonical_address, unmapped_address})
        check_equal("bad table", hypercall(CERO_HYPERCALL_set_trap_table, where), -CERO_EFAULT);
    check_trap("the old handler still stands", guarded([] { asm volatile("ud2"); }),
               invalid_opcode);
}
