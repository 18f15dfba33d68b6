// SPDX-License-Identifier: BSD-2-Clause
// What:   memory_op: reservations down and up, the machine-to-physical table, memory maps, bad
// input. Why:    balloons give memory away and get it back; a frame that is still in use must not
// reach another domain. How:    gives pages away, gets them back, asks for sizes, passes frames
// that are not its own. Expect: as documented in docs/abi/memory.md.
#include "runtime.hpp"

using namespace guest;

namespace {

constexpr unsigned pages = 8;
Page* taken[pages];

cero_memory_reservation reservation(Word* list, Word count, unsigned order = 0) {
    cero_memory_reservation r{};
    r.extent_start = address(list);
    r.nr_extents = count;
    r.extent_order = order;
    r.domid = CERO_DOMID_SELF;
    return r;
}

void down_and_up() {
    cero_domid self = CERO_DOMID_SELF;
    const long before = memory_op(CERO_XENMEM_current_reservation, &self);
    check_equal("current reservation is start_info's", before,
                static_cast<long>(start_info->nr_pages));
    static Word mfns[pages], pfns[pages];
    for (unsigned i = 0; i < pages; ++i) {
        taken[i] = take_page();
        mfns[i] = mfn_of(taken[i]);
        pfns[i] = pfn_of(taken[i]);
        update_va_mapping(address(taken[i]), 0, CERO_UVMF_INVLPG);
    }
    cero_memory_reservation down = reservation(mfns, pages);
    check_equal("decrease_reservation", memory_op(CERO_XENMEM_decrease_reservation, &down), pages);
    check_equal("current reservation", memory_op(CERO_XENMEM_current_reservation, &self),
                before - pages);
    check_true(
        "a frame that was given away cannot be mapped",
        update_va_mapping(address(taken[0]), mfns[0] * page_size | pte_rw, CERO_UVMF_INVLPG) < 0);
    cero_memory_reservation again = reservation(mfns, 1);
    check_equal("given away twice", memory_op(CERO_XENMEM_decrease_reservation, &again), 0);

    static Word list[pages];
    for (unsigned i = 0; i < pages; ++i)
        list[i] = pfns[i];
    cero_memory_reservation up = reservation(list, pages);
    check_equal("populate_physmap", memory_op(CERO_XENMEM_populate_physmap, &up), pages);
    check_equal("current reservation", memory_op(CERO_XENMEM_current_reservation, &self), before);
    unsigned wrong = 0;
    for (unsigned i = 0; i < pages; ++i) {
        wrong += pfn_of_mfn(list[i]) != pfns[i];
        wrong += update_va_mapping(address(taken[i]), list[i] * page_size | pte_rw,
                                   CERO_UVMF_INVLPG) != 0;
        // Cero hands the control domain, which sees all memory anyway, frames as they are.
        for (const Word word : taken[i]->words)
            wrong += word != 0 && !is_first_domain();
        taken[i]->words[0] = i;
    }
    check_equal(
        "new frames: mapped, named in the machine-to-physical table, and without old content",
        wrong, 0);

    // Still mapped: the frame stays until the last reference goes.
    Word mapped = list[0];
    cero_memory_reservation held = reservation(&mapped, 1);
    const long result = memory_op(CERO_XENMEM_decrease_reservation, &held);
    check_equal("decrease of a frame that is mapped", result, 1);
    check_true("it can still be used through the old mapping",
               !guarded([] { taken[0]->words[0] = 1; }).happened());
    update_va_mapping(address(taken[0]), 0, CERO_UVMF_INVLPG);
    check_equal("current reservation", memory_op(CERO_XENMEM_current_reservation, &self),
                before - 1);
}

void sizes() {
    cero_domid self = CERO_DOMID_SELF;
    const long last = memory_op(CERO_XENMEM_maximum_ram_page, nullptr);
    check_true("maximum_ram_page", last > 0);
    check_true("maximum_reservation",
               memory_op(CERO_XENMEM_maximum_reservation, &self) != -CERO_ENOSYS);
    cero_domid nobody = 0x7777;
    check_equal("current_reservation of a domain that does not exist",
                memory_op(CERO_XENMEM_current_reservation, &nobody), -CERO_ESRCH);
    cero_machphys_mapping mapping{};
    check_equal("machphys_mapping", memory_op(CERO_XENMEM_machphys_mapping, &mapping), 0);
    check_equal("its start", static_cast<long>(mapping.v_start),
                static_cast<long>(CERO_M2P_VIRT_START));
    check_true("its end", mapping.v_end > mapping.v_start);
    check_true("its size covers all frames", mapping.max_mfn >= static_cast<Word>(last) - 1);

    static cero_e820_entry map[128];
    cero_memory_map query{128, 0, address(map)};
    if (is_first_domain()) {
        check_equal("machine_memory_map", memory_op(CERO_XENMEM_machine_memory_map, &query), 0);
        check_true("it has entries", query.nr_entries > 0 && query.nr_entries <= 128);
        bool ram = false;
        for (unsigned i = 0; i < query.nr_entries; ++i)
            ram = ram || map[i].type == CERO_E820_RAM;
        check_true("some of it is RAM", ram);
    }
}

void bad_input() {
    Word list[2] = {0xfffffffff, 0};
    cero_memory_reservation r = reservation(list, 1);
    check_equal("decrease of a frame that does not exist",
                memory_op(CERO_XENMEM_decrease_reservation, &r), 0);
    list[0] = (*entry_of(CERO_M2P_VIRT_START, 4) & pte_frame_mask) >> 12;
    check_equal("decrease of a frame of the hypervisor",
                memory_op(CERO_XENMEM_decrease_reservation, &r), 0);
    r = reservation(reinterpret_cast<Word*>(unmapped_address), 1);
    check_true("decrease with a bad list", memory_op(CERO_XENMEM_decrease_reservation, &r) <= 0);
    check_true("populate with a bad list", memory_op(CERO_XENMEM_populate_physmap, &r) <= 0);
    list[0] = 0;
    r = reservation(list, 1, 60);
    check_true("absurd order", memory_op(CERO_XENMEM_populate_physmap, &r) <= 0);
    r = reservation(list, 1);
    r.domid = 0x7777;
    check_true("domain that does not exist", memory_op(CERO_XENMEM_populate_physmap, &r) <= 0);
    for (const Word command :
         {Word{CERO_XENMEM_populate_physmap}, Word{CERO_XENMEM_decrease_reservation},
          Word{CERO_XENMEM_machphys_mapping}})
        check_true("bad argument",
                   memory_op(command, reinterpret_cast<void*>(unmapped_address)) <= 0);
    check_equal("unknown command", memory_op(50, nullptr), -CERO_ENOSYS);
}

} // namespace

void guest::test_main() {
    sizes();
    down_and_up();
    bad_input();
}
