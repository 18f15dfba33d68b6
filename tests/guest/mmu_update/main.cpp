// SPDX-License-Identifier: BSD-2-Clause
// What:   mmu_update: page-table writes, plain writes, machine-to-physical writes, counts, bad
// input. Why:    with typed frames it is the heart of isolation: no entry may ever give access that
// the frame's use forbids. How:    changes level-1 entries of the initial tables, tries forbidden
// targets, lists that fail half way. Expect: as documented in docs/abi/mmu.md; every refused update
// leaves the old entry.
#include "runtime.hpp"

using namespace guest;

namespace {

Page target, other;
Page read_only;

/// Inside the level-2 table of the initial mapping, without a level-1 table.
constexpr Word free_address = virt_base + 0x20000000;

Word pte(Word mfn, Word flags) {
    return mfn * page_size | flags;
}
Word own_entry(const void* va) {
    return entry_maddr(address(va));
}
void flush(const void* va) {
    mmuext_one(CERO_MMUEXT_INVLPG_LOCAL, address(va));
}

void good_updates() {
    other.words[0] = 0x1234;
    check_equal("another frame", mmu_update_one(own_entry(&target), pte(mfn_of(&other), pte_rw)),
                0);
    flush(&target);
    check_equal("the new frame is seen", static_cast<long>(target.words[0]), 0x1234);
    check_equal("read-only", mmu_update_one(own_entry(&target), pte(mfn_of(&other), pte_ro)), 0);
    flush(&target);
    check_trap("store to it", guarded([] { target.words[0] = 1; }), page_fault, 3);
    check_equal("not present", mmu_update_one(own_entry(&target), 0xdeadbeef00), 0);
    flush(&target);
    check_trap("load from it", guarded([] { (void)*const_cast<volatile Word*>(&target.words[0]); }),
               page_fault, 0);
    check_equal("any bits are kept in an absent entry",
                static_cast<long>(*entry_of(address(&target))), 0xdeadbeef00);
    check_equal("available bits",
                mmu_update_one(own_entry(&target), pte(mfn_of(&target), pte_rw | 7ull << 9)), 0);
    check_equal("available bits are kept", static_cast<long>(*entry_of(address(&target)) >> 9 & 7),
                7);
    check_equal("the user bit is set by the hypervisor",
                static_cast<long>(*entry_of(address(&target)) & pte_user),
                static_cast<long>(pte_user));
    flush(&target);
    check_true("present again", !guarded([] { target.words[0] = 1; }).happened());
}

void preserving_accessed_and_dirty() {
    check_equal(
        "accessed and dirty cleared",
        mmu_update_one(own_entry(&target), pte(mfn_of(&target), pte_present | pte_writable)), 0);
    flush(&target);
    target.words[0] = 1;
    check_equal("hardware has set both",
                static_cast<long>(*entry_of(address(&target)) & (pte_accessed | pte_dirty)),
                static_cast<long>(pte_accessed | pte_dirty));
    check_equal("PRESERVE_AD",
                mmu_update_one(own_entry(&target) | CERO_MMU_PT_UPDATE_PRESERVE_AD,
                               pte(mfn_of(&target), pte_present | pte_writable)),
                0);
    check_equal("both are kept",
                static_cast<long>(*entry_of(address(&target)) & (pte_accessed | pte_dirty)),
                static_cast<long>(pte_accessed | pte_dirty));
    flush(&target);
}

void plain_writes() {
    // A frame that is no page table: the update is a plain store.
    other.words[3] = 0;
    check_equal("plain store", mmu_update_one(mfn_of(&other) * page_size + 24, 0x77), 0);
    check_equal("its effect", static_cast<long>(other.words[3]), 0x77);
    check_equal("plain store to a frame that is mapped read-only",
                mmu_update_one(mfn_of(&read_only) * page_size, 5), 0);
    check_equal("its effect", static_cast<long>(read_only.words[0]), 5);
}

void machine_to_physical() {
    const Word mfn = mfn_of(&other), pfn = pfn_of(&other);
    check_equal("new PFN", mmu_update_one(mfn * page_size | CERO_MMU_MACHPHYS_UPDATE, 0x123456), 0);
    check_equal("its effect", static_cast<long>(pfn_of_mfn(mfn)), 0x123456);
    check_equal("old PFN", mmu_update_one(mfn * page_size | CERO_MMU_MACHPHYS_UPDATE, pfn), 0);
    check_true("of a frame that does not exist",
               mmu_update_one(0xfffffffffffff000 | CERO_MMU_MACHPHYS_UPDATE, 1) < 0);
    check_true("of a frame of the hypervisor",
               mmu_update_one(pte(pfn_of_mfn(0) == 0 ? 1 : 0, CERO_MMU_MACHPHYS_UPDATE), 1) < 0);
}

void refused_targets() {
    const Word before = *entry_of(address(&target));
    const Word table = *entry_of(address(&target), 2) & pte_frame_mask;
    check_true("writable mapping of a page table",
               mmu_update_one(own_entry(&target), table | pte_rw) < 0);
    check_equal("read-only mapping of a page table",
                mmu_update_one(own_entry(&target), table | pte_ro), 0);
    check_equal("and back", mmu_update_one(own_entry(&target), before), 0);
    check_true("frame that does not exist",
               mmu_update_one(own_entry(&target), pte_frame_mask | pte_rw) < 0);
    check_true("frame of the hypervisor (shared_info's neighbour tables)",
               mmu_update_one(own_entry(&target),
                              (*entry_of(CERO_M2P_VIRT_START, 4) & pte_frame_mask) | pte_rw) < 0);
    check_true("frame of the hypervisor, read-only",
               mmu_update_one(own_entry(&target),
                              (*entry_of(CERO_M2P_VIRT_START, 4) & pte_frame_mask) | pte_ro) < 0);
    check_equal("the entry is still the old one",
                static_cast<long>(*entry_of(address(&target)) & ~(pte_accessed | pte_dirty)),
                static_cast<long>(before & ~(pte_accessed | pte_dirty)));

    check_true("large page in level 2",
               mmu_update_one(entry_maddr(address(&target), 2),
                              pte(mfn_of(&target) & ~Word{511}, pte_rw | pte_large)) < 0);
    check_true("level-4 slot of the hypervisor",
               mmu_update_one(entry_maddr(CERO_HYPERVISOR_VIRT_START, 4), 0) < 0);
    check_true("level-4 slot of the hypervisor, last",
               mmu_update_one(entry_maddr(CERO_HYPERVISOR_VIRT_END - 1, 4), 0) < 0);
    check_true("data frame as a level-1 table while it is mapped writable",
               mmu_update_one(entry_maddr(free_address, 2), pte(mfn_of(&other), pte_rw)) < 0);
    check_true("level-2 table as a level-2 entry's target",
               mmu_update_one(entry_maddr(free_address, 2),
                              (*entry_of(address(&target), 3) & pte_frame_mask) | pte_rw) < 0);
    check_trap("nothing appeared there",
               guarded([] { (void)*reinterpret_cast<volatile int*>(free_address); }), page_fault);
}

void refused_requests() {
    check_true("entry in a frame that does not exist", mmu_update_one(0x000ffffffffff000, 0) < 0);
    check_true("entry in a frame of the hypervisor",
               mmu_update_one(*entry_of(CERO_M2P_VIRT_START, 4) & pte_frame_mask, 0) < 0);
    check_equal("entry in shared_info, which is the hypervisor's frame but the domain's to write",
                mmu_update_one(start_info->shared_info + 0xc20, 0) <= 0, 1);
    check_true("of a domain that does not exist",
               mmu_update_one(own_entry(&target), 0, 0x7777) < 0);
    check_equal("with a bad list",
                hypercall(CERO_HYPERCALL_mmu_update, unmapped_address, 1, 0, CERO_DOMID_SELF),
                -CERO_EFAULT);
    check_equal("with a list in the hypervisor",
                hypercall(CERO_HYPERCALL_mmu_update, hypervisor_address, 1, 0, CERO_DOMID_SELF),
                -CERO_EFAULT);
    check_equal("of nothing", mmu_update(nullptr, 0), 0);
}

void lists() {
    static cero_mmu_update list[40];
    static std::uint32_t done;
    for (auto& update : list)
        update = {mfn_of(&other) * page_size + 8 * static_cast<Word>(&update - list), 100};
    check_equal("long list", mmu_update(list, 40, &done), 0);
    check_equal("done", done, 40);
    check_equal("first", static_cast<long>(other.words[0]), 100);
    check_equal("last", static_cast<long>(other.words[39]), 100);

    for (auto& update : list)
        update.val = 200;
    list[5].ptr = 0x000ffffffffff000;
    done = 99;
    check_true("list whose sixth element is bad", mmu_update(list, 40, &done) < 0);
    check_equal("done", done, 5);
    check_equal("the one before it", static_cast<long>(other.words[4]), 200);
    check_equal("the one after it", static_cast<long>(other.words[6]), 100);
    const long lost =
        hypercall(CERO_HYPERCALL_mmu_update, address(list), 1, unmapped_address, CERO_DOMID_SELF);
    // Xen forgets the count; Cero says that it could not be written.
    check_true("bad place for the count", lost == 0 || lost == -CERO_EFAULT);
}

} // namespace

void guest::test_main() {
    make_readonly(&read_only);
    good_updates();
    preserving_accessed_and_dirty();
    plain_writes();
    machine_to_physical();
    refused_targets();
    refused_requests();
    lists();
}
