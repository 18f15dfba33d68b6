// SPDX-License-Identifier: BSD-2-Clause
// memory_op: reservations, exchange, sizes, memory maps, with faults and preemption.
#include "fixture.hpp"

#include <cero/abi/hypercall.h>

namespace cero::test {
namespace {

class ReservationTest : public MemoryTest {
protected:
    std::int64_t change(Guest& guest, unsigned command, std::vector<std::uint64_t>& list,
                        unsigned order = 0, std::uint16_t domain = CERO_DOMID_SELF,
                        std::uint32_t flags = 0) {
        cero_memory_reservation request{};
        request.extent_start = reinterpret_cast<std::uint64_t>(list.data());
        request.nr_extents = list.size();
        request.extent_order = order;
        request.mem_flags = flags;
        request.domid = domain;
        return memory(guest, command, &request);
    }
    static std::uint64_t pages(Guest& guest) {
        return guest.domain->memory.total_pages.load(Order::relaxed);
    }
};

TEST_F(ReservationTest, PopulateAndDecrease) {
    std::vector<std::uint64_t> list;
    for (std::uint64_t n = 0; n < 100; ++n)
        list.push_back(1000 + n);
    host::preempt_after(3, true);
    EXPECT_EQ(change(a(), CERO_XENMEM_populate_physmap, list), 100);
    EXPECT_EQ(pages(a()), 100u);
    for (std::uint64_t n = 0; n < 100; ++n) {
        EXPECT_EQ(arch::m2p_get(MachineFrame{list[n]}), 1000 + n);
        EXPECT_TRUE(frame_look(MachineFrame{list[n]}).is_owned_by(a().domain->slot));
    }
    EXPECT_EQ(change(a(), CERO_XENMEM_decrease_reservation, list), 100);
    EXPECT_EQ(pages(a()), 0u);
    EXPECT_EQ(arch::m2p_get(MachineFrame{list[0]}), ~0ull);
    EXPECT_EQ(change(a(), CERO_XENMEM_decrease_reservation, list), 0) << "not its own any more";
}

TEST_F(ReservationTest, OrdersAndLimits) {
    std::vector<std::uint64_t> list{0, 16, 32};
    EXPECT_EQ(change(a(), CERO_XENMEM_populate_physmap, list, 4), 3);
    EXPECT_EQ(pages(a()), 48u);
    EXPECT_EQ(list[1] % 16, 0u);
    EXPECT_EQ(arch::m2p_get(MachineFrame{list[2] + 5}), 37u);
    EXPECT_EQ(change(a(), CERO_XENMEM_populate_physmap, list, 10), -code(Errno::perm));
    a().domain->memory.max_pages.store(50, Order::relaxed);
    std::vector<std::uint64_t> more(5);
    EXPECT_EQ(change(a(), CERO_XENMEM_populate_physmap, more), 2) << "partial success";
    EXPECT_EQ(change(a(), CERO_XENMEM_decrease_reservation, list, 4), 3);
    EXPECT_EQ(pages(a()), 2u);
}

TEST_F(ReservationTest, ListsThatFault) {
    std::vector<std::uint64_t> list(10);
    host::fault_range(&list[4], 8);
    EXPECT_EQ(change(a(), CERO_XENMEM_populate_physmap, list), 4);
    EXPECT_EQ(pages(a()), 4u);
    cero_memory_reservation* nowhere = nullptr;
    EXPECT_EQ(memory(a(), CERO_XENMEM_populate_physmap, nowhere), -code(Errno::fault));
}

TEST_F(ReservationTest, ForeignDomains) {
    std::vector<std::uint64_t> list{1, 2};
    EXPECT_EQ(change(a(), CERO_XENMEM_populate_physmap, list, 0, 2), -code(Errno::perm));
    EXPECT_EQ(change(dom0(), CERO_XENMEM_populate_physmap, list, 0, 2), 2);
    EXPECT_EQ(pages(b()), 2u);
    EXPECT_EQ(change(dom0(), CERO_XENMEM_populate_physmap, list, 0, 50), -code(Errno::srch));
    EXPECT_EQ(change(a(), CERO_XENMEM_decrease_reservation, list), 0);
}

TEST_F(ReservationTest, IncreaseReportsFrames) {
    std::vector<std::uint64_t> list(3);
    EXPECT_EQ(change(a(), CERO_XENMEM_increase_reservation, list, 1, CERO_DOMID_SELF, 22), 3);
    for (const std::uint64_t frame : list)
        EXPECT_LT(frame, 1024u) << "22 address bits";
    EXPECT_EQ(arch::m2p_get(MachineFrame{list[0]}), ~0ull);
}

TEST_F(ReservationTest, DecreaseLeavesMappedFramesAlone) {
    std::vector<std::uint64_t> list{7};
    ASSERT_EQ(change(a(), CERO_XENMEM_populate_physmap, list), 1);
    const MachineFrame frame{list[0]};
    ASSERT_TRUE(frame_get(frame, a().domain->slot));
    EXPECT_EQ(change(a(), CERO_XENMEM_decrease_reservation, list), 1) << "not an error";
    EXPECT_TRUE(frame_look(frame).is_owned_by(a().domain->slot));
    frame_put(frame);
    EXPECT_TRUE(frame_look(frame).is_owned_by(slot_free));
}

TEST_F(ReservationTest, FramesGivenBackButInUseAreLimited) {
    std::vector<MachineFrame> tables;
    for (int n = 0; n < 3; ++n) {
        tables.push_back(new_frame(a()));
        ASSERT_EQ(pin(a(), 1, tables.back()), ok);
    }
    unsigned kept = 0;
    std::vector<std::uint64_t> list{7};
    for (; kept < 3 * 512 && change(a(), CERO_XENMEM_populate_physmap, list) == 1;
         ++kept, list = {7}) {
        ASSERT_EQ(set_entry(a(), tables[kept / 512], kept % 512, to(MachineFrame{list[0]}, rw)),
                  ok);
        ASSERT_EQ(change(a(), CERO_XENMEM_decrease_reservation, list), 1);
    }
    EXPECT_EQ(pages(a()), 3u);
    EXPECT_GT(kept, 1000u);
    EXPECT_LT(kept, 1100u) << "more than the domain may have";
    for (unsigned n = 0; n < 100; ++n)
        ASSERT_EQ(set_entry(a(), tables[0], n, Pte{}), ok);
    EXPECT_EQ(change(a(), CERO_XENMEM_populate_physmap, list), 1);
}

TEST_F(ReservationTest, ExchangeBothWays) {
    std::vector<std::uint64_t> in(16), out{500};
    for (std::uint64_t n = 0; n < 16; ++n)
        in[n] = n;
    ASSERT_EQ(change(a(), CERO_XENMEM_populate_physmap, in), 16);
    cero_memory_exchange request{};
    request.in = {reinterpret_cast<std::uint64_t>(in.data()), 16, 0, 0, CERO_DOMID_SELF, {}};
    request.out = {reinterpret_cast<std::uint64_t>(out.data()), 1, 4, 32, CERO_DOMID_SELF, {}};
    a().domain->memory.max_pages.store(16, Order::relaxed);
    EXPECT_EQ(memory(a(), CERO_XENMEM_exchange, &request), 0);
    EXPECT_EQ(request.nr_exchanged, 16u);
    EXPECT_EQ(out[0] % 16, 0u);
    EXPECT_EQ(pages(a()), 16u);
    EXPECT_EQ(arch::m2p_get(MachineFrame{out[0] + 3}), 503u);
    // And back into single frames.
    cero_memory_exchange back{};
    back.in = {reinterpret_cast<std::uint64_t>(out.data()), 1, 4, 0, CERO_DOMID_SELF, {}};
    back.out = {reinterpret_cast<std::uint64_t>(in.data()), 16, 0, 0, CERO_DOMID_SELF, {}};
    for (std::uint64_t n = 0; n < 16; ++n)
        in[n] = 20 + n;
    EXPECT_EQ(memory(a(), CERO_XENMEM_exchange, &back), 0);
    EXPECT_EQ(back.nr_exchanged, 1u);
    EXPECT_EQ(pages(a()), 16u);
    EXPECT_EQ(arch::m2p_get(MachineFrame{in[5]}), 25u);
}

TEST_F(ReservationTest, ExchangeIsAllOrNothing) {
    std::vector<std::uint64_t> in(4), out{0};
    ASSERT_EQ(change(a(), CERO_XENMEM_populate_physmap, in), 4);
    const auto before = snapshot();
    const auto free = allocator_free_frames();
    cero_memory_exchange request{};
    request.in = {reinterpret_cast<std::uint64_t>(in.data()), 4, 0, 0, CERO_DOMID_SELF, {}};
    request.out = {reinterpret_cast<std::uint64_t>(out.data()), 1, 2, 0, CERO_DOMID_SELF, {}};
    const std::uint64_t good = in[3];
    in[3] = in[2]; // the same frame twice
    EXPECT_EQ(memory(a(), CERO_XENMEM_exchange, &request), -code(Errno::inval));
    in[3] = good;
    request.out.mem_flags = 13; // below 8 KiB: impossible
    EXPECT_EQ(memory(a(), CERO_XENMEM_exchange, &request), -code(Errno::nomem));
    request.out.extent_order = 1;
    EXPECT_EQ(memory(a(), CERO_XENMEM_exchange, &request), -code(Errno::inval)) << "sizes differ";
    EXPECT_EQ(request.nr_exchanged, 0u);
    EXPECT_EQ(snapshot(), before);
    EXPECT_EQ(allocator_free_frames(), free);
}

TEST_F(ReservationTest, Sizes) {
    std::vector<std::uint64_t> list(5);
    ASSERT_EQ(change(a(), CERO_XENMEM_populate_physmap, list), 5);
    cero_domid self = CERO_DOMID_SELF, other = 1;
    EXPECT_EQ(memory(a(), CERO_XENMEM_current_reservation, &self), 5);
    EXPECT_EQ(memory(a(), CERO_XENMEM_maximum_reservation, &self), 700);
    EXPECT_EQ(memory(dom0(), CERO_XENMEM_current_reservation, &other), 5);
    EXPECT_EQ(memory(b(), CERO_XENMEM_current_reservation, &other), -code(Errno::perm));
    EXPECT_EQ(memory(a(), CERO_XENMEM_maximum_ram_page, nullptr),
              static_cast<std::int64_t>(machine_frames - 1));
    EXPECT_EQ(memory(a(), CERO_XENMEM_claim_pages, nullptr), -code(Errno::nosys));
    EXPECT_EQ(memory(a(), CERO_XENMEM_add_to_physmap, nullptr), -code(Errno::opnotsupp));
    cero_machphys_mapping mapping{};
    EXPECT_EQ(memory(a(), CERO_XENMEM_machphys_mapping, &mapping), 0);
    EXPECT_EQ(mapping.v_start, CERO_M2P_VIRT_START);
    EXPECT_EQ(mapping.max_mfn, machine_frames - 1);
}

TEST_F(ReservationTest, MemoryMaps) {
    std::vector<cero_e820_entry> entries(8);
    cero_memory_map map{8, 0, reinterpret_cast<std::uint64_t>(entries.data())};
    EXPECT_EQ(memory(a(), CERO_XENMEM_memory_map, &map), -code(Errno::nosys)) << "none set";
    cero_e820_entry given[2]{{0, 1 << 20, 1}, {1 << 20, 1 << 20, 2}};
    cero_foreign_memory_map set{};
    set.domid = 1;
    set.map = {2, 0, reinterpret_cast<std::uint64_t>(given)};
    EXPECT_EQ(memory(a(), CERO_XENMEM_set_memory_map, &set), -code(Errno::perm));
    EXPECT_EQ(memory(dom0(), CERO_XENMEM_set_memory_map, &set), 0);
    EXPECT_EQ(memory(a(), CERO_XENMEM_memory_map, &map), 0);
    EXPECT_EQ(map.nr_entries, 2u);
    EXPECT_EQ(entries[1].type, 2u);
    map.nr_entries = 1;
    EXPECT_EQ(memory(a(), CERO_XENMEM_memory_map, &map), -code(Errno::inval));
    map.nr_entries = 8;
    EXPECT_EQ(memory(a(), CERO_XENMEM_machine_memory_map, &map), -code(Errno::perm));
    EXPECT_EQ(memory(dom0(), CERO_XENMEM_machine_memory_map, &map), 0);
    EXPECT_EQ(map.nr_entries, 2u);
}

} // namespace
} // namespace cero::test
