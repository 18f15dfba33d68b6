// SPDX-License-Identifier: BSD-2-Clause
// What:   set_gdt, update_descriptor, SET_LDT: own descriptors, forbidden ones, pages and their
// types. Why:    a descriptor of a privileged level, or a gate, would be a way into the hypervisor.
// How:    installs tables, loads selectors of them, tries what must be refused.
// Expect: levels are raised to 3; gates and system descriptors are refused; the reserved entries
// stay.
#include "runtime.hpp"

using namespace guest;

namespace {

constexpr Word data_level0 = 0x00cf92000000ffff;
constexpr Word data_level3 = 0x00cff2000000ffff;
constexpr Word interrupt_gate = 0x00008e0000080000;
constexpr Word task_state = 0x0000890000000067;
constexpr Word local_table = 0x0000820000000fff;
constexpr Word not_present = 0x00cf72000000ffff;

Page gdt, ldt, data;

Trap load_ds(unsigned selector) {
    return guarded([=] {
        asm volatile("mov %0, %%ds" : : "r"(selector));
        asm volatile("mov %0, %%ds" : : "r"(0));
    });
}
Word descriptor_maddr(const Page& page, unsigned index) {
    return mfn_of(&page) * page_size + index * 8;
}

} // namespace

void guest::test_main() {
    gdt.words[1] = data_level3;
    gdt.words[2] = data_level0;
    gdt.words[3] = not_present;
    Word frames[16] = {mfn_of(&gdt)};
    check_true("table that is mapped writable", set_gdt(frames, 512) < 0);
    make_readonly(&gdt);
    check_equal("set_gdt", set_gdt(frames, 512), 0);
    check_equal("the level of a descriptor was raised", static_cast<long>(gdt.words[2]),
                static_cast<long>(data_level3));
    check_true("it can be loaded", !load_ds(1 << 3 | 3).happened());
    check_true("the raised one can be loaded", !load_ds(2 << 3 | 3).happened());
    check_trap("one that is not present", load_ds(3 << 3 | 3), segment_not_present, 3 << 3);
    check_trap("beyond the table", load_ds(600 << 3 | 3), general_protection, 600 << 3);
    check_true("the reserved one can be loaded", !load_ds(CERO_FLAT_RING3_DS).happened());
    check_true(
        "the page cannot be mapped writable",
        update_va_mapping(address(&gdt), mfn_of(&gdt) * page_size | pte_rw, CERO_UVMF_INVLPG) < 0);

    check_equal("update_descriptor", update_descriptor(descriptor_maddr(gdt, 4), data_level0), 0);
    check_equal("its effect, level raised", static_cast<long>(gdt.words[4]),
                static_cast<long>(data_level3));
    check_true("it can be loaded", !load_ds(4 << 3 | 3).happened());
    check_equal("update_descriptor to nothing", update_descriptor(descriptor_maddr(gdt, 4), 0), 0);
    for (const Word bad : {interrupt_gate, task_state, local_table})
        check_equal("forbidden descriptor", update_descriptor(descriptor_maddr(gdt, 4), bad),
                    -CERO_EINVAL);
    check_equal("nothing was written", static_cast<long>(gdt.words[4]), 0);
    check_equal("not on 8 bytes", update_descriptor(descriptor_maddr(gdt, 4) + 4, 0), -CERO_EINVAL);
    check_true("frame that does not exist", update_descriptor(pte_frame_mask, 0) < 0);
    check_equal("into a data page", update_descriptor(descriptor_maddr(data, 0), data_level3), 0);
    check_equal("its effect", static_cast<long>(data.words[0]), static_cast<long>(data_level3));
    check_true("into a page table",
               update_descriptor(entry_maddr(address(&data)), data_level3) < 0);

    // The hypervisor's own code selector must not be of use to the guest.
    check_true("the hypervisor's code selector cannot be entered",
               guarded([] {
                   asm volatile("pushq %0; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:"
                                :
                                : "r"(Word{0xe008})
                                : "rax", "memory");
               }).happened());

    check_equal("more entries than a guest may have", set_gdt(frames, 7169), -CERO_EINVAL);
    check_equal("bad list of frames", hypercall(CERO_HYPERCALL_set_gdt, unmapped_address, 512),
                -CERO_EFAULT);
    data.words[0] = interrupt_gate;
    make_readonly(&data);
    frames[0] = mfn_of(&data);
    check_true("table with a gate", set_gdt(frames, 512) < 0);
    make_writable(&data);
    data.words[0] = 0;
    frames[0] = 0xfffffffff;
    check_true("frame that does not exist", set_gdt(frames, 512) < 0);
    check_true("the old table still stands", !load_ds(1 << 3 | 3).happened());
    check_equal("no table", set_gdt(frames, 0), 0);
    make_writable(&gdt);

    ldt.words[1] = data_level0;
    ldt.words[2] = interrupt_gate;
    make_readonly(&ldt);
    check_equal("SET_LDT", mmuext_one(CERO_MMUEXT_SET_LDT, address(&ldt), 2), 0);
    check_equal("SET_LDT with a forbidden descriptor",
                mmuext_one(CERO_MMUEXT_SET_LDT, address(&ldt), 3), 0);
    check_true("no descriptor of it can be loaded", load_ds(1 << 3 | 7).happened());
    make_writable(&ldt);
    ldt.words[2] = 0;
    make_readonly(&ldt);
    check_equal("SET_LDT", mmuext_one(CERO_MMUEXT_SET_LDT, address(&ldt), 3), 0);
    check_true("it can be loaded", !load_ds(1 << 3 | 7).happened());
    check_true(
        "the page cannot be mapped writable",
        update_va_mapping(address(&ldt), mfn_of(&ldt) * page_size | pte_rw, CERO_UVMF_INVLPG) < 0);
    check_equal("SET_LDT none", mmuext_one(CERO_MMUEXT_SET_LDT, 0, 0), 0);
    check_trap("then no descriptor of it can be loaded", load_ds(1 << 3 | 7), general_protection);
    make_writable(&ldt);
}
