// SPDX-License-Identifier: BSD-2-Clause
// What:   update_va_mapping: each flush form, addresses without a table, refused targets.
// Why:    the way in which kernels change single pages of the current address space.
// How:    remaps a page, looks at it with and without a flush, passes bad addresses and masks.
// Expect: 0; a negative errno and the old entry for anything refused.
#include "runtime.hpp"

using namespace guest;

namespace {

Page target, a, b;

long map(const Page& frame, Word flags, Word flush) {
    return update_va_mapping(address(&target), mfn_of(&frame) * page_size | flags, flush);
}
Word seen() {
    return *const_cast<volatile Word*>(&target.words[0]);
}

} // namespace

void guest::test_main() {
    a.words[0] = 0xa;
    b.words[0] = 0xb;
    static Word all_vcpus = 1;
    const Word by_mask = address(&all_vcpus);
    struct Form {
        const char* name;
        Word flags;
    } forms[] = {
        {"one page, this CPU", CERO_UVMF_INVLPG | CERO_UVMF_LOCAL},
        {"one page, all CPUs", CERO_UVMF_INVLPG | CERO_UVMF_ALL},
        {"all, this CPU", CERO_UVMF_TLB_FLUSH | CERO_UVMF_LOCAL},
        {"all, all CPUs", CERO_UVMF_TLB_FLUSH | CERO_UVMF_ALL},
        {"one page, CPUs of a mask", CERO_UVMF_INVLPG | by_mask},
        {"all, CPUs of a mask", CERO_UVMF_TLB_FLUSH | by_mask},
    };
    for (const Form& form : forms) {
        check_equal(form.name, map(a, pte_rw, form.flags), 0);
        check_equal(form.name, static_cast<long>(seen()), 0xa);
        check_equal(form.name, map(b, pte_rw, form.flags), 0);
        check_equal(form.name, static_cast<long>(seen()), 0xb);
    }
    check_equal("no flush", map(a, pte_rw, CERO_UVMF_NONE), 0);
    mmuext_one(CERO_MMUEXT_INVLPG_LOCAL, address(&target));
    check_equal("no flush, then one by hand", static_cast<long>(seen()), 0xa);
    check_equal("read-only", map(a, pte_ro, CERO_UVMF_INVLPG), 0);
    check_trap("store to it", guarded([] { target.words[0] = 1; }), page_fault, 3);
    check_equal("absent", update_va_mapping(address(&target), 0, CERO_UVMF_INVLPG), 0);
    check_trap("load from it", guarded([] { (void)seen(); }), page_fault, 0);
    check_equal("back", map(target, pte_rw, CERO_UVMF_INVLPG), 0);

    check_equal("no table for the address", update_va_mapping(0x0000123456789000, 0, 0),
                -CERO_EINVAL);
    check_equal("address without a level-1 table",
                update_va_mapping(unmapped_address + (64ul << 21), 0, 0), -CERO_EINVAL);
    check_true("address of the hypervisor", update_va_mapping(hypervisor_address, 0, 0) < 0);
    check_true("machine-to-physical table", update_va_mapping(CERO_M2P_VIRT_START, 0, 0) < 0);
    check_true("non-canonical address", update_va_mapping(noncanonical_address, 0, 0) < 0);
    const Word table = *entry_of(address(&target), 2) & pte_frame_mask;
    check_true("page table, writable",
               update_va_mapping(address(&target), table | pte_rw, CERO_UVMF_INVLPG) < 0);
    check_true("frame that does not exist",
               update_va_mapping(address(&target), pte_frame_mask | pte_rw, CERO_UVMF_INVLPG) < 0);
    check_true("after all that the page is as before",
               !guarded([] { target.words[0] = 1; }).happened());
    check_true("unknown flush", map(target, pte_rw, 3) <= 0);
}
