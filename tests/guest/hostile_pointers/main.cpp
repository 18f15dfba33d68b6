// SPDX-License-Identifier: BSD-2-Clause
// What:   every hypercall that takes a pointer, with pointers that must be refused.
// Why:    a pointer into the hypervisor, past the end of memory, or to a page that vanishes must
// cost an errno only. How:    each call and sub-command x each bad pointer; then pointers whose
// object crosses into an unmapped page. Expect: a negative errno, never a crash, and a machine that
// still works.
#include "runtime.hpp"

using namespace guest;

namespace {

constexpr Word pointers[] = {
    0,
    1,
    unmapped_address,
    unmapped_address - 1,
    hypervisor_address,
    CERO_HYPERVISOR_VIRT_START - 4,
    CERO_HYPERVISOR_VIRT_END - 4,
    CERO_HYPERVISOR_VIRT_END,
    noncanonical_address,
    0x00007fffffffffff,
    0x0000800000000000,
    ~Word{0},
    ~Word{0} - 7,
    0xfffffffffffff000,
};

unsigned calls, succeeded;

void call(unsigned number, Word a1, Word a2, Word a3, Word a4 = CERO_DOMID_SELF) {
    const long result = hypercall(number, a1, a2, a3, a4);
    ++calls;
    if (result >= 0)
        ++succeeded;
}

} // namespace

void guest::test_main() {
    for (const Word p : pointers) {
        call(CERO_HYPERCALL_mmu_update, p, 1, p);
        call(CERO_HYPERCALL_mmu_update, p, 0x7fffffff, 0);
        call(CERO_HYPERCALL_mmuext_op, p, 1, p);
        call(CERO_HYPERCALL_mmuext_op, p, 0x7fffffff, 0);
        call(CERO_HYPERCALL_set_gdt, p, 512, 0);
        call(CERO_HYPERCALL_multicall, p, 3, 0);
        call(CERO_HYPERCALL_multicall, p, ~Word{0}, 0);
        call(CERO_HYPERCALL_console_io, CERO_CONSOLEIO_write, 0x10000, p);
        call(CERO_HYPERCALL_set_trap_table, p == 0 ? unmapped_address : p, 0, 0);
        for (Word command = 1; command < 40; ++command) {
            call(CERO_HYPERCALL_xen_version, command, p, 0);
            if (command != CERO_EVTCHNOP_reset)
                call(CERO_HYPERCALL_event_channel_op, command, p, 0);
            if (command != CERO_SCHEDOP_block)
                call(CERO_HYPERCALL_sched_op, command, p, 0);
            call(CERO_HYPERCALL_memory_op, command, p, 0);
            call(CERO_HYPERCALL_physdev_op, command, p, 0);
            call(CERO_HYPERCALL_grant_table_op, command, p, 1);
            call(CERO_HYPERCALL_grant_table_op, command, p, 0x7fffffff);
            call(CERO_HYPERCALL_callback_op, command, p, 0);
            if (command != CERO_VCPUOP_down && command != CERO_VCPUOP_send_nmi)
                call(CERO_HYPERCALL_vcpu_op, command, 0, p);
        }
        call(CERO_HYPERCALL_domctl, p, 0, 0);
        call(CERO_HYPERCALL_sysctl, p, 0, 0);
        call(CERO_HYPERCALL_platform_op, p, 0, 0);
    }
    // A flush of the TLB is good wherever its "pointer" is not looked at; all else must fail.
    print("%u calls, %u of them with a result that is not an error", calls, succeeded);
    check_equal("the machine still works", xen_version(CERO_XENVER_pagesize), 4096);
    check_trap("exceptions still arrive", guarded([] { asm volatile("ud2"); }), invalid_opcode);

    // The argument begins in a mapped page and ends in one that is not.
    static Page pages[2];
    update_va_mapping(address(&pages[1]), 0, CERO_UVMF_INVLPG);
    const Word crossing = address(&pages[1]) - 4;
    for (const int number :
         {CERO_HYPERCALL_event_channel_op, CERO_HYPERCALL_sched_op, CERO_HYPERCALL_physdev_op})
        check_equal("argument that crosses into an unmapped page",
                    hypercall(static_cast<unsigned>(number), 3, crossing),
                    number == CERO_HYPERCALL_physdev_op ? -CERO_ENOSYS
                    : number == CERO_HYPERCALL_sched_op ? -CERO_EFAULT
                                                        : -CERO_EINVAL);
    check_equal("list that crosses into an unmapped page",
                hypercall(CERO_HYPERCALL_mmu_update, crossing, 1, 0, CERO_DOMID_SELF),
                -CERO_EFAULT);
    check_equal("result that crosses into an unmapped page",
                hypercall(CERO_HYPERCALL_xen_version, CERO_XENVER_capabilities, crossing),
                -CERO_EFAULT);
    check_equal("text that crosses into an unmapped page",
                hypercall(CERO_HYPERCALL_console_io, CERO_CONSOLEIO_write, 8, crossing),
                -CERO_EFAULT);
}
