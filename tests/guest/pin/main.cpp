// SPDX-License-Identifier: BSD-2-Clause
// What:   pinning: all four levels, wrong content, wrong type, twice, unpinning, types that come
// and go. Why:    a pinned table is a validated one; every hole here is a way to write into
// somebody else's memory. How:    builds small trees out of own pages; tries to pin them wrong;
// changes mappings between. Expect: 0, or -EINVAL/-EBUSY and no trace left: afterwards every page
// can be mapped writable again.
#include "runtime.hpp"

using namespace guest;

namespace {

Page l1, l2, l3, l4, data;

Word entry(const Page& page, Word flags) {
    return mfn_of(&page) * page_size | flags;
}
long pin(unsigned level, const Page& page) {
    return mmuext_one(CERO_MMUEXT_PIN_L1_TABLE + level - 1, mfn_of(&page));
}
long unpin(const Page& page) {
    return mmuext_one(CERO_MMUEXT_UNPIN_TABLE, mfn_of(&page));
}
long writable(const Page& page) {
    return update_va_mapping(address(&page), entry(page, pte_rw), CERO_UVMF_INVLPG);
}

void one_level() {
    check_true("while it is mapped writable", pin(1, l1) < 0);
    make_readonly(&l1);
    check_equal("empty level-1 table", pin(1, l1), 0);
    check_equal("twice", pin(1, l1), -CERO_EINVAL);
    check_true("as another level", pin(2, l1) < 0);
    check_true("it cannot be mapped writable", writable(l1) < 0);
    check_trap("a store to it is emulated only for page-table writes: a bad value is refused",
               guarded([] { *const_cast<volatile Word*>(&l1.words[0]) = pte_frame_mask | pte_rw; }),
               page_fault);
    check_equal("unpin", unpin(l1), 0);
    check_equal("unpin twice", unpin(l1), -CERO_EINVAL);
    check_equal("it can be mapped writable", writable(l1), 0);

    l1.words[0] = pte_frame_mask | pte_ro;
    make_readonly(&l1);
    check_true("with a frame that does not exist", pin(1, l1) < 0);
    make_writable(&l1);
    l1.words[0] = entry(l1, pte_rw);
    make_readonly(&l1);
    check_true("with a writable mapping of itself", pin(1, l1) < 0);
    make_writable(&l1);
    l1.words[0] = entry(l1, pte_ro);
    l1.words[511] = entry(data, pte_rw);
    make_readonly(&l1);
    check_equal("with a read-only mapping of itself", pin(1, l1), 0);
    check_equal("unpin", unpin(l1), 0);
    make_writable(&l1);
    l1.words[0] = 0;
}

void whole_tree() {
    l1.words[1] = entry(data, pte_rw);
    l2.words[0] = entry(l1, pte_rw);
    l3.words[0] = entry(l2, pte_rw);
    l4.words[0] = entry(l3, pte_rw);
    l4.words[511] = *entry_of(virt_base, 4);
    make_readonly(&l4);
    check_true("tree whose other levels are mapped writable", pin(4, l4) < 0);
    make_readonly(&l3);
    make_readonly(&l2);
    check_true("tree whose level 1 is mapped writable", pin(4, l4) < 0);
    make_readonly(&l1);
    check_equal("tree", pin(4, l4), 0);
    for (const Page* page : {&l1, &l2, &l3, &l4})
        check_true("no level can be mapped writable", writable(*page) < 0);
    check_equal("pin of a level below", pin(2, l2), 0);
    check_equal("unpin of it", unpin(l2), 0);
    check_true("its type stays: it is in use", writable(l2) < 0);
    check_equal("base pointer", mmuext_one(CERO_MMUEXT_NEW_BASEPTR, mfn_of(&l4)), 0);
    *reinterpret_cast<volatile Word*>(page_size) = 0x55;
    check_equal("store through it", static_cast<long>(data.words[0]), 0x55);
    check_equal("unpin while it is the base pointer", unpin(l4), 0);
    check_true("its type stays: it is in use", writable(l4) < 0);
    check_equal("base pointer back", mmuext_one(CERO_MMUEXT_NEW_BASEPTR, mfn_of(entry_of(0, 4))),
                0);
    for (const Page* page : {&l4, &l3, &l2, &l1})
        check_equal("all types are given up", writable(*page), 0);
}

void bad_trees() {
    l2.words[0] = entry(data, pte_rw);
    l2.words[1] = 0;
    make_readonly(&l2);
    check_true("level 2 with a data frame, mapped writable, as level 1", pin(2, l2) < 0);
    make_writable(&l2);
    l2.words[0] = (mfn_of(&data) & ~Word{511}) * page_size | pte_rw | pte_large;
    make_readonly(&l2);
    check_true("level 2 with a large page", pin(2, l2) < 0);
    make_writable(&l2);
    l2.words[0] = entry(l2, pte_rw);
    make_readonly(&l2);
    check_true("level 2 with itself as level 1", pin(2, l2) < 0);
    make_writable(&l2);
    l2.words[0] = 0;

    // The first entries are good, a late one is bad: the good ones' references must be given back.
    for (unsigned i = 0; i < 511; ++i)
        l1.words[i] = entry(data, pte_rw);
    l1.words[511] = entry(l1, pte_rw);
    make_readonly(&l1);
    check_true("level 1 with one bad entry, the last", pin(1, l1) < 0);
    make_writable(&l1);
    for (Word& word : l1.words)
        word = 0;
    make_readonly(&data);
    check_equal("the good entries' references were given back: data as a level-1 table",
                pin(1, data), 0);
    check_equal("unpin", unpin(data), 0);
    make_writable(&data);

    l4.words[0] = 0;
    l4.words[511] = 0;
    for (unsigned slot = 256; slot < 272; ++slot)
        l4.words[slot] = ~Word{0};
    make_readonly(&l4);
    check_equal("garbage in the hypervisor's slots is ignored", pin(4, l4), 0);
    check_true("and replaced", l4.words[256] != ~Word{0});
    check_equal("unpin", unpin(l4), 0);
    make_writable(&l4);

    check_true("frame that does not exist", mmuext_one(CERO_MMUEXT_PIN_L1_TABLE, 0xfffffffff) < 0);
    check_true("frame of the hypervisor",
               mmuext_one(CERO_MMUEXT_PIN_L3_TABLE,
                          (*entry_of(CERO_M2P_VIRT_START, 4) & pte_frame_mask) >> 12) < 0);
    check_true("unpin of a frame that does not exist",
               mmuext_one(CERO_MMUEXT_UNPIN_TABLE, 0xfffffffff) < 0);
}

} // namespace

void guest::test_main() {
    one_level();
    whole_tree();
    bad_trees();
}
