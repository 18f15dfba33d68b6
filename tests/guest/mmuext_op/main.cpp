// SPDX-License-Identifier: BSD-2-Clause
// What:   mmuext_op but pinning: flushes, base pointers, LDT, clear and copy, counts, bad input.
// Why:    address-space switches and TLB rules of every kernel.
// How:    each command with good and with refused arguments.
// Expect: 0; -EINVAL or another errno, and no effect, for what is refused; -ENOSYS for an unknown
// command.
#include "runtime.hpp"

using namespace guest;

namespace {

Page l4, data, data2;
bool read_data() {
    return data.words[0] == data2.words[0];
}

} // namespace

void guest::test_main() {
    static Word mask = 1;
    check_equal("TLB_FLUSH_LOCAL", mmuext_one(CERO_MMUEXT_TLB_FLUSH_LOCAL), 0);
    check_equal("INVLPG_LOCAL", mmuext_one(CERO_MMUEXT_INVLPG_LOCAL, address(&data)), 0);
    check_equal("INVLPG_LOCAL of a hypervisor address",
                mmuext_one(CERO_MMUEXT_INVLPG_LOCAL, hypervisor_address), 0);
    check_equal("INVLPG_LOCAL of a non-canonical address",
                mmuext_one(CERO_MMUEXT_INVLPG_LOCAL, noncanonical_address), 0);
    check_equal("TLB_FLUSH_MULTI", mmuext_one(CERO_MMUEXT_TLB_FLUSH_MULTI, 0, address(&mask)), 0);
    check_equal("INVLPG_MULTI",
                mmuext_one(CERO_MMUEXT_INVLPG_MULTI, address(&data), address(&mask)), 0);
    check_true("TLB_FLUSH_MULTI with a bad mask",
               mmuext_one(CERO_MMUEXT_TLB_FLUSH_MULTI, 0, unmapped_address) < 0);
    check_equal("TLB_FLUSH_ALL", mmuext_one(CERO_MMUEXT_TLB_FLUSH_ALL), 0);
    check_equal("INVLPG_ALL", mmuext_one(CERO_MMUEXT_INVLPG_ALL, address(&data)), 0);

    // Another level-4 table with the same content but for the hypervisor's slots.
    const Word own = mfn_of(entry_of(0, 4));
    for (unsigned slot = 0; slot < 512; ++slot)
        l4.words[slot] = slot >= 256 && slot < 272 ? 0 : entry_of(0, 4)[slot];
    check_true("base pointer while it is mapped writable",
               mmuext_one(CERO_MMUEXT_NEW_BASEPTR, mfn_of(&l4)) < 0);
    make_readonly(&l4);
    check_equal("NEW_BASEPTR", mmuext_one(CERO_MMUEXT_NEW_BASEPTR, mfn_of(&l4)), 0);
    check_true("memory is there with it", read_data());
    check_true("the hypervisor's slots were filled in", l4.words[256] != 0);
    check_equal("NEW_BASEPTR, same again", mmuext_one(CERO_MMUEXT_NEW_BASEPTR, mfn_of(&l4)), 0);
    check_equal("NEW_BASEPTR back", mmuext_one(CERO_MMUEXT_NEW_BASEPTR, own), 0);
    make_writable(&l4); // Possible only if the type was given up.
    make_readonly(&l4);
    check_true("NEW_BASEPTR of a data frame",
               mmuext_one(CERO_MMUEXT_NEW_BASEPTR, mfn_of(&data)) < 0);
    check_true("NEW_BASEPTR of a frame that does not exist",
               mmuext_one(CERO_MMUEXT_NEW_BASEPTR, 0xfffffffff) < 0);
    check_true("NEW_BASEPTR of frame of the hypervisor",
               mmuext_one(CERO_MMUEXT_NEW_BASEPTR,
                          (*entry_of(CERO_M2P_VIRT_START, 4) & pte_frame_mask) >> 12) < 0);

    check_equal("NEW_USER_BASEPTR", mmuext_one(CERO_MMUEXT_NEW_USER_BASEPTR, mfn_of(&l4)), 0);
    check_equal("NEW_USER_BASEPTR none", mmuext_one(CERO_MMUEXT_NEW_USER_BASEPTR, 0), 0);
    make_writable(&l4);
    check_true("NEW_USER_BASEPTR of a data frame",
               mmuext_one(CERO_MMUEXT_NEW_USER_BASEPTR, mfn_of(&data)) < 0);

    check_equal("SET_LDT none", mmuext_one(CERO_MMUEXT_SET_LDT, 0, 0), 0);
    check_equal("SET_LDT", mmuext_one(CERO_MMUEXT_SET_LDT, address(&data), 512), 0);
    check_equal("SET_LDT none again", mmuext_one(CERO_MMUEXT_SET_LDT, 0, 0), 0);
    check_equal("SET_LDT, not on a page", mmuext_one(CERO_MMUEXT_SET_LDT, address(&data) + 8, 8),
                -CERO_EINVAL);
    check_equal("SET_LDT, too many", mmuext_one(CERO_MMUEXT_SET_LDT, address(&data), 8193),
                -CERO_EINVAL);

    data.words[7] = 7;
    check_equal("COPY_PAGE", mmuext_one(CERO_MMUEXT_COPY_PAGE, mfn_of(&data2), mfn_of(&data)), 0);
    check_equal("its effect", static_cast<long>(data2.words[7]), 7);
    check_equal("CLEAR_PAGE", mmuext_one(CERO_MMUEXT_CLEAR_PAGE, mfn_of(&data2)), 0);
    check_equal("its effect", static_cast<long>(data2.words[7]), 0);
    check_true("CLEAR_PAGE of a page table", mmuext_one(CERO_MMUEXT_CLEAR_PAGE, own) < 0);
    check_true("COPY_PAGE to a page table",
               mmuext_one(CERO_MMUEXT_COPY_PAGE, own, mfn_of(&data)) < 0);
    check_true("CLEAR_PAGE of a frame that does not exist",
               mmuext_one(CERO_MMUEXT_CLEAR_PAGE, 0xfffffffff) < 0);

    check_equal("unknown command", mmuext_one(77), -CERO_ENOSYS);
    check_true("of a domain that does not exist",
               mmuext_one(CERO_MMUEXT_TLB_FLUSH_LOCAL, 0, 0, 0x7777) < 0);
    check_equal("bad list",
                hypercall(CERO_HYPERCALL_mmuext_op, unmapped_address, 1, 0, CERO_DOMID_SELF),
                -CERO_EFAULT);
    check_equal("list of nothing", mmuext_op(nullptr, 0), 0);
    static cero_mmuext_op list[3];
    static std::uint32_t done = 9;
    list[0].cmd = CERO_MMUEXT_TLB_FLUSH_LOCAL;
    list[1].cmd = 77;
    list[2].cmd = CERO_MMUEXT_TLB_FLUSH_LOCAL;
    check_equal("list that fails half way", mmuext_op(list, 3, &done), -CERO_ENOSYS);
    check_equal("done", done, 1);
}
