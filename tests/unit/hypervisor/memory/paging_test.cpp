// SPDX-License-Identifier: BSD-2-Clause
// Validated page tables: what is accepted, what is refused and leaves no trace, pinning, roots,
// flushes.
#include "fixture.hpp"

#include <arch/api/hooks.hpp>

#include <cero/abi/hypercall.h>

namespace cero::test {
namespace {

/// A small tree: one table of each level, two data frames.
class PagingTest : public MemoryTest {
protected:
    void SetUp() override {
        MemoryTest::SetUp();
        l4 = new_frame(a());
        l3 = new_frame(a());
        l2 = new_frame(a());
        l1 = new_frame(a());
        data = new_frame(a());
        other = new_frame(a());
        words(l4)[0] = to(l3, table_bits).raw();
        words(l3)[0] = to(l2, table_bits).raw();
        words(l2)[0] = to(l1, table_bits).raw();
        words(l1)[0] = to(data, rw).raw();
        words(l1)[1] = to(l1, ro).raw();
    }
    void load() { ASSERT_TRUE(set_vcpu_roots(*dom0().vcpu, *a().vcpu, l4, invalid_frame)); }
    MachineFrame l4, l3, l2, l1, data, other;
};

TEST_F(PagingTest, PinTakesTheWholeTree) {
    ASSERT_EQ(pin(a(), 4, l4), ok);
    EXPECT_EQ(frame_look(l4).type(), FrameType::l4);
    EXPECT_TRUE(frame_look(l4).is(FrameWord::validated));
    EXPECT_EQ(frame_look(l3).type_refs(), 1u);
    EXPECT_EQ(frame_look(l1).type(), FrameType::l1);
    EXPECT_EQ(frame_look(l1).refs(), 3u) << "allocation, parent, its own read-only mapping";
    EXPECT_EQ(frame_look(data).type(), FrameType::writable);
    EXPECT_EQ(frame_audit(), 0u);
    for (unsigned n = 0; n < 16; ++n)
        EXPECT_EQ(words(l4)[256 + n], arch::hypervisor_slots()[n]);
    EXPECT_EQ(pin(a(), 4, l4), code(Errno::inval)) << "pinned already";
    ASSERT_EQ(unpin(a(), l4), ok);
    EXPECT_EQ(unpin(a(), l4), code(Errno::inval)) << "not pinned";
    for (const MachineFrame frame : {l4, l3, l2, l1, data})
        EXPECT_EQ(frame_look(frame).refs(), 1u);
    EXPECT_EQ(frame_look(l1).type_refs(), 0u);
}

TEST_F(PagingTest, EntriesAreAdjusted) {
    words(l1)[2] = to(data, Pte::present).raw();
    words(l1)[3] = to(data, Pte::present | Pte::user | Pte::global).raw();
    words(l2)[0] = to(l1, Pte::present | Pte::write).raw();
    words(l4)[0] = to(l3, Pte::present | Pte::write).raw();
    ASSERT_EQ(pin(a(), 4, l4), ok);
    EXPECT_EQ(words(l1)[2], to(data, Pte::present | Pte::user | guest_kernel).raw());
    EXPECT_EQ(words(l1)[3], to(data, Pte::present | Pte::user).raw()) << "never global";
    EXPECT_EQ(words(l2)[0], to(l1, Pte::present | Pte::write | Pte::user).raw());
    EXPECT_EQ(words(l4)[0], to(l3, Pte::present | Pte::write | Pte::user | Pte::accessed).raw());
}

TEST_F(PagingTest, OnlyTheControlDomainChoosesHowMemoryIsCached) {
    words(l1)[2] = to(data, ro | Pte::cache_bits).raw();
    ASSERT_EQ(pin(a(), 1, l1), ok);
    EXPECT_EQ(words(l1)[2], to(data, ro).raw());
    ASSERT_EQ(set_entry(a(), l1, 3, to(data, rw | Pte::cache_disable)), ok);
    EXPECT_EQ(words(l1)[3], to(data, rw).raw());
    const MachineFrame table = new_frame(dom0()), frame = new_frame(dom0());
    words(table)[0] = to(frame, ro | Pte::cache_bits).raw();
    ASSERT_EQ(pin(dom0(), 1, table), ok);
    EXPECT_EQ(words(table)[0], to(frame, ro | Pte::cache_bits).raw());
}

struct Hostile {
    const char* name;
    std::function<void(std::uint64_t*, std::uint64_t*, std::uint64_t*, std::uint64_t*)> spoil;
};

TEST_F(PagingTest, BadContentIsRefusedWithoutTrace) {
    const MachineFrame foreign = new_frame(b());
    const MachineFrame free{machine_frames - 1};
    const auto bad = [&](unsigned level, unsigned index, Pte entry) {
        const std::array<MachineFrame, 4> tables{l1, l2, l3, l4};
        std::uint64_t& word = words(tables[level - 1])[index];
        const std::uint64_t before = word;
        word = entry.raw();
        const auto counts = snapshot();
        EXPECT_NE(pin(a(), 4, l4), ok)
            << "level " << level << " index " << index << " entry " << std::hex << entry.raw();
        word = before;
        const auto after = snapshot();
        for (std::size_t n = 0; n < counts.size(); ++n) {
            // Labels may change; counts, pins and owners may not.
            EXPECT_EQ(FrameWord{counts[n]}.refs(), FrameWord{after[n]}.refs());
            EXPECT_EQ(FrameWord{counts[n]}.type_refs(), FrameWord{after[n]}.type_refs());
            EXPECT_EQ(counts[n] & (FrameWord::pinned | FrameWord::locked | FrameWord::partial),
                      after[n] & (FrameWord::pinned | FrameWord::locked | FrameWord::partial));
        }
        EXPECT_EQ(frame_audit(), 0u);
    };
    bad(1, 5, to(foreign, ro));
    bad(1, 511, to(foreign, rw));
    bad(1, 5, to(free, ro));
    bad(1, 5, to(MachineFrame{hole_first}, ro)); // I/O without the right to it
    bad(1, 5, to(MachineFrame{1ull << 39}, ro));
    bad(1, 5, to(l1, rw));
    bad(1, 5, to(l2, rw));
    bad(1, 5, to(l4, rw));
    bad(2, 5, to(data, table_bits)); // mapped writable by l1[0]
    bad(2, 5, to(l2, table_bits));
    bad(2, 5, to(l3, table_bits));
    bad(2, 5, to(foreign, table_bits));
    bad(2, 511, to(other, table_bits | Pte::large));
    bad(2, 5, to(other, table_bits | Pte::global));
    bad(2, 5, to(other, table_bits | Pte::cache_disable));
    bad(3, 5, to(other, table_bits | Pte::large));
    bad(3, 5, to(l3, table_bits));
    bad(3, 5, to(l1, table_bits));
    bad(4, 5, to(l4, table_bits)); // linear map
    bad(4, 5, to(l2, table_bits));
    bad(4, 511, to(MachineFrame{machine_frames + 7}, table_bits));
    EXPECT_EQ(pin(a(), 4, foreign), code(Errno::inval));
    EXPECT_EQ(pin(a(), 4, MachineFrame{~0ull}), code(Errno::inval));
    ASSERT_EQ(pin(a(), 4, l4), ok) << "the tree itself is sound";
}

TEST_F(PagingTest, HypervisorSlotsOfTheGuestAreIgnored) {
    for (unsigned n = 256; n < 272; ++n)
        words(l4)[n] = 0xdeadbeefdeadbeefull;
    ASSERT_EQ(pin(a(), 4, l4), ok);
    EXPECT_EQ(words(l4)[260], arch::hypervisor_slots()[4]);
    for (const unsigned n : {256u, 263u, 271u})
        EXPECT_EQ(set_entry(a(), l4, n, Pte{}), code(Errno::inval));
    ASSERT_EQ(unpin(a(), l4), ok);
    EXPECT_EQ(frame_audit(), 0u);
}

TEST_F(PagingTest, TablesMayBeShared) {
    words(l2)[1] = to(l1, table_bits).raw();
    words(l3)[1] = to(l2, table_bits).raw();
    for (unsigned n = 0; n < 100; ++n)
        words(l2)[200 + n] = to(l1, table_bits).raw();
    ASSERT_EQ(pin(a(), 4, l4), ok);
    EXPECT_EQ(frame_look(l1).type_refs(), 102u);
    EXPECT_EQ(frame_look(l2).type_refs(), 2u);
    EXPECT_EQ(pin(a(), 1, l1), ok);
    ASSERT_EQ(unpin(a(), l4), ok);
    EXPECT_EQ(frame_look(l1).type_refs(), 1u);
    ASSERT_EQ(unpin(a(), l1), ok);
}

TEST_F(PagingTest, UpdatesMoveReferences) {
    ASSERT_EQ(pin(a(), 4, l4), ok);
    EXPECT_EQ(set_entry(a(), l1, 7, to(other, rw)), ok);
    EXPECT_EQ(frame_look(other).type_refs(), 1u);
    EXPECT_EQ(set_entry(a(), l1, 7, to(other, ro)), ok);
    EXPECT_EQ(frame_look(other).type_refs(), 0u);
    EXPECT_EQ(frame_look(other).refs(), 2u);
    EXPECT_EQ(set_entry(a(), l1, 7, Pte{0x1234'5678'9abc'def0}), ok) << "not present: any bits";
    EXPECT_EQ(words(l1)[7], 0x1234'5678'9abc'def0u);
    EXPECT_EQ(frame_look(other).refs(), 1u);
    EXPECT_EQ(set_entry(a(), l1, 7, to(l2, rw)), code(Errno::busy));
    EXPECT_EQ(words(l1)[7], 0x1234'5678'9abc'def0u) << "the old entry stays";
    EXPECT_EQ(set_entry(a(), l2, 9, to(other, table_bits)), ok) << "an empty table";
    EXPECT_EQ(frame_look(other).type(), FrameType::l1);
    EXPECT_EQ(set_entry(a(), l2, 9, Pte{}), ok);
    EXPECT_EQ(frame_look(other).refs(), 1u);
    EXPECT_EQ(set_entry(a(), l2, 0, Pte{}), ok);
    EXPECT_EQ(frame_look(l1).type_refs(), 0u) << "gone at once";
    EXPECT_EQ(frame_get_writable(l1, a().domain->slot).error(), Errno::ok);
    frame_put_writable(l1);
}

TEST_F(PagingTest, AccessedAndDirtyArePreserved) {
    ASSERT_EQ(pin(a(), 4, l4), ok);
    words(l1)[0] |= Pte::accessed | Pte::dirty;
    const std::uint64_t bare = to(data, Pte::present | Pte::user).raw();
    EXPECT_EQ(update(a(), {{entry_address(l1, 0) | CERO_MMU_PT_UPDATE_PRESERVE_AD, bare}}), ok);
    EXPECT_EQ(words(l1)[0], bare | Pte::accessed | Pte::dirty);
    EXPECT_EQ(frame_look(data).type_refs(), 0u);
    EXPECT_EQ(set_entry(a(), l1, 0, Pte{bare}), ok);
    EXPECT_EQ(words(l1)[0], bare);
}

TEST_F(PagingTest, BatchesStopAtTheFirstFailure) {
    ASSERT_EQ(pin(a(), 4, l4), ok);
    std::vector<cero_mmu_update> requests;
    for (unsigned n = 0; n < 100; ++n)
        requests.push_back({entry_address(l1, 10 + n), to(data, rw).raw()});
    requests[70].val = to(l4, rw).raw();
    std::uint32_t done = 99;
    EXPECT_EQ(update(a(), requests, CERO_DOMID_SELF, &done), code(Errno::busy));
    EXPECT_EQ(done, 70u);
    EXPECT_EQ(frame_look(data).type_refs(), 71u);
    EXPECT_EQ(words(l1)[80], 0u);
    EXPECT_EQ(update(a(), {}, CERO_DOMID_SELF, &done), ok);
    EXPECT_EQ(done, 0u);
}

TEST_F(PagingTest, RequestsThatCannotBeReadFault) {
    ASSERT_EQ(pin(a(), 4, l4), ok);
    std::vector<cero_mmu_update> requests(8, {entry_address(l1, 3), to(data, ro).raw()});
    host::fault_range(&requests[5], 16);
    std::uint32_t done = 0;
    EXPECT_EQ(update(a(), requests, CERO_DOMID_SELF, &done), code(Errno::fault));
    EXPECT_EQ(done, 5u);
    host::fault_range(&done, 4);
    EXPECT_EQ(update(a(), {{entry_address(l1, 3), 0}}, CERO_DOMID_SELF, &done), code(Errno::fault));
}

TEST_F(PagingTest, PlainFramesAndM2pAreWritten) {
    EXPECT_EQ(update(a(), {{entry_address(other, 3), 42}}), ok);
    EXPECT_EQ(words(other)[3], 42u);
    EXPECT_EQ(frame_look(other).type_refs(), 0u);
    EXPECT_EQ(update(a(), {{entry_address(other, 3) | 4, 1}}), code(Errno::inval));
    EXPECT_EQ(update(a(), {{to_phys(other).raw() | CERO_MMU_MACHPHYS_UPDATE, 77}}), ok);
    EXPECT_EQ(arch::m2p_get(other), 77u);
    const MachineFrame foreign = new_frame(b());
    EXPECT_EQ(update(a(), {{to_phys(foreign).raw() | CERO_MMU_MACHPHYS_UPDATE, 77}}),
              code(Errno::inval));
    EXPECT_EQ(update(a(), {{entry_address(foreign, 0), 1}}), code(Errno::inval));
    EXPECT_EQ(update(a(), {{~0ull << 3, 1}}), code(Errno::inval));
    ASSERT_TRUE(get_descriptor_frame(a(), other));
    EXPECT_EQ(update(a(), {{entry_address(other, 3), 42}}), code(Errno::busy));
    put_descriptor_frame(other);
}

TEST_F(PagingTest, UpdateByAddress) {
    ASSERT_EQ(pin(a(), 4, l4), ok);
    load();
    host::enter_cpu(*a().vcpu);
    const GuestVirt address{5 << 12};
    EXPECT_TRUE(update_va_mapping(*a().vcpu, address.raw(), to(other, rw).raw(), 0));
    EXPECT_EQ(look_up(l4, address).entry.frame(), other);
    EXPECT_TRUE(update_va_mapping(*a().vcpu, address.raw(), to(other, ro).raw(),
                                  CERO_UVMF_INVLPG | CERO_UVMF_LOCAL));
    EXPECT_EQ(host::flushes.local_page, 1u);
    std::uint64_t mask = 1;
    EXPECT_TRUE(update_va_mapping(*a().vcpu, address.raw(), 0,
                                  CERO_UVMF_TLB_FLUSH | reinterpret_cast<std::uint64_t>(&mask)));
    EXPECT_EQ(update_va_mapping(*a().vcpu, 1ull << 39, 0, 0).error(), Errno::inval) << "no table";
    EXPECT_EQ(update_va_mapping(*a().vcpu, CERO_HYPERVISOR_VIRT_START, 0, 0).error(), Errno::inval);
    EXPECT_EQ(update_va_mapping(*a().vcpu, 1ull << 60, 0, 0).error(), Errno::inval);
    EXPECT_EQ(update_va_mapping(*a().vcpu, address.raw(), 0, 3).error(), Errno::inval);
    EXPECT_EQ(update_va_mapping(*a().vcpu, address.raw(), to(new_frame(b()), ro).raw(), 0).error(),
              Errno::inval);
}

TEST_F(PagingTest, RootsHoldTheirTables) {
    ASSERT_EQ(pin(a(), 4, l4), ok);
    load();
    EXPECT_EQ(frame_look(l4).type_refs(), 2u);
    EXPECT_EQ(unpin(a(), l4), ok) << "only the pin goes";
    EXPECT_EQ(frame_look(l3).type_refs(), 1u);
    const MachineFrame second = new_frame(a());
    words(second)[511] = to(l3, table_bits).raw();
    EXPECT_EQ(ext(a(), CERO_MMUEXT_NEW_USER_BASEPTR, second.raw()), ok);
    EXPECT_EQ(a().vcpu->user_root, second);
    EXPECT_EQ(ext(a(), CERO_MMUEXT_NEW_BASEPTR, second.raw()), ok);
    EXPECT_EQ(frame_look(l4).type_refs(), 0u);
    EXPECT_EQ(frame_look(second).type_refs(), 2u);
    EXPECT_EQ(ext(a(), CERO_MMUEXT_NEW_BASEPTR, second.raw()), ok) << "the same: only reloaded";
    EXPECT_EQ(frame_look(second).type_refs(), 2u);
    EXPECT_EQ(ext(a(), CERO_MMUEXT_NEW_BASEPTR, data.raw()), code(Errno::busy));
    EXPECT_EQ(a().vcpu->kernel_root, second);
    EXPECT_EQ(ext(a(), CERO_MMUEXT_NEW_USER_BASEPTR, 0), ok);
    EXPECT_EQ(a().vcpu->user_root, invalid_frame);
    EXPECT_EQ(a().vcpu->arch.user_cr3, 0u);
}

TEST_F(PagingTest, StoresToLiveTables) {
    words(l1)[1] = to(l1, ro).raw();
    words(l1)[2] = to(l2, ro).raw();
    ASSERT_EQ(pin(a(), 4, l4), ok);
    load();
    host::enter_cpu(*a().vcpu);
    Vcpu& vcpu = *a().vcpu;
    const auto at = [](unsigned page, unsigned index) {
        return GuestVirt{page * page_size + index * 8};
    };
    EXPECT_TRUE(core::guest_pte_store(vcpu, at(1, 9), 0, to(other, rw).raw()));
    EXPECT_EQ(frame_look(other).type_refs(), 1u);
    const std::uint64_t now = words(l1)[9];
    EXPECT_EQ(core::guest_pte_store(vcpu, at(1, 9), 0, 0).error(), Errno::again) << "stale value";
    EXPECT_EQ(frame_look(other).type_refs(), 1u);
    EXPECT_TRUE(core::guest_pte_store(vcpu, at(1, 9), now, now & ~Pte::write));
    EXPECT_EQ(frame_look(other).type_refs(), 0u);
    EXPECT_EQ(core::guest_pte_store(vcpu, at(1, 10), 0, to(l1, rw).raw()).error(), Errno::busy);
    EXPECT_EQ(core::guest_pte_store(vcpu, at(2, 9), 0, 0).error(), Errno::noent) << "level 2";
    EXPECT_EQ(core::guest_pte_store(vcpu, at(0, 9), 0, 0).error(), Errno::noent) << "writable";
    EXPECT_EQ(core::guest_pte_store(vcpu, at(77, 9), 0, 0).error(), Errno::noent) << "unmapped";
}

TEST_F(PagingTest, WritablePagesAreFlushedBeforeTheyBecomeTables) {
    a().domain->dirty_cpus.store(2, Order::relaxed); // another CPU
    ASSERT_TRUE(frame_get_writable(other, a().domain->slot));
    frame_put_writable(other);
    const std::uint64_t before = host::flushes.remote.load();
    ASSERT_EQ(pin(a(), 1, other), ok);
    EXPECT_EQ(host::flushes.remote, before + 1);
    ASSERT_EQ(unpin(a(), other), ok);
    ASSERT_EQ(pin(a(), 1, other), ok);
    EXPECT_EQ(host::flushes.remote, before + 1) << "nobody could write it meanwhile";
    a().domain->dirty_cpus.store(1, Order::relaxed); // this CPU: once, at the end
    const std::uint64_t local = host::flushes.local.load();
    ASSERT_EQ(pin(a(), 4, l4), ok);
    EXPECT_LE(host::flushes.local, local + 1);
    EXPECT_EQ(set_entry(a(), l2, 0, Pte{}), ok);
    EXPECT_EQ(host::flushes.local, local + 1) << "paging-structure caches";
    a().domain->dirty_cpus.store(0, Order::relaxed);
}

TEST_F(PagingTest, IoNeedsRights) {
    ASSERT_EQ(pin(a(), 4, l4), ok);
    const MachineFrame io{hole_first + 2}, far{0x80000};
    EXPECT_EQ(set_entry(a(), l1, 20, to(io, rw)), code(Errno::perm));
    ASSERT_TRUE(a().domain->rights.io_memory.add(io.raw(), io.raw()));
    EXPECT_EQ(set_entry(a(), l1, 20, to(io, rw | Pte::cache_disable)), ok);
    EXPECT_EQ(set_entry(a(), l1, 20, to(io, rw), CERO_DOMID_IO), ok);
    EXPECT_EQ(set_entry(a(), l1, 21, to(far, rw), CERO_DOMID_IO), code(Errno::perm));
    EXPECT_EQ(set_entry(a(), l1, 21, to(data, ro), CERO_DOMID_IO), code(Errno::inval));
    const MachineFrame table = new_frame(dom0());
    ASSERT_EQ(pin(dom0(), 1, table), ok);
    EXPECT_EQ(set_entry(dom0(), table, 0, to(far, rw)), ok);
    EXPECT_EQ(set_entry(dom0(), table, 1, to(io, rw)), ok);
    EXPECT_EQ(set_entry(dom0(), table, 2, to(MachineFrame{0xfee00}, rw)), code(Errno::perm));
    EXPECT_EQ(set_entry(dom0(), table, 3, to(data, rw)), code(Errno::inval)) << "not as its own";
}

TEST_F(PagingTest, ForeignFramesForTheControlDomainOnly) {
    const MachineFrame table = new_frame(dom0());
    ASSERT_EQ(pin(dom0(), 1, table), ok);
    EXPECT_EQ(set_entry(dom0(), table, 0, to(data, rw), a().domain->id.raw()), ok);
    EXPECT_EQ(frame_look(data).refs(), 2u);
    EXPECT_EQ(set_entry(dom0(), table, 1, to(data, rw), b().domain->id.raw()), code(Errno::inval));
    EXPECT_EQ(set_entry(dom0(), table, 1, to(data, rw), 99), code(Errno::srch));
    EXPECT_EQ(set_entry(a(), table, 1, to(data, rw), b().domain->id.raw()), code(Errno::perm));
    EXPECT_EQ(pin(a(), 1, data), code(Errno::busy)) << "mapped writable by dom0";
    destroy(a());
    EXPECT_EQ(a().domain->memory.owned_pages.load(Order::relaxed), 1u) << "dom0 still maps it";
    dom0().domain->dirty_cpus.store(2, Order::relaxed);
    const std::uint64_t before = host::flushes.remote.load();
    EXPECT_EQ(set_entry(dom0(), table, 0, Pte{}), ok);
    EXPECT_EQ(host::flushes.remote, before + 1) << "flushed before it can be reused";
    dom0().domain->dirty_cpus.store(0, Order::relaxed);
    EXPECT_EQ(a().domain->memory.owned_pages.load(Order::relaxed), 0u);
    EXPECT_EQ(frame_look(data).owner(), slot_free);
    GrantTable::destroy(a());
}

TEST_F(PagingTest, ControlDomainWorksOnForeignTables) {
    EXPECT_EQ(ext(dom0(), CERO_MMUEXT_PIN_L4_TABLE, l4.raw(), 0, a().domain->id.raw()), ok);
    EXPECT_EQ(ext(b(), CERO_MMUEXT_UNPIN_TABLE, l4.raw(), 0, a().domain->id.raw()),
              code(Errno::perm));
    const std::uint64_t both = (a().domain->id.raw() + 1ull) << 16 | a().domain->id.raw();
    EXPECT_EQ(set_entry(dom0(), l1, 50, to(other, rw), both), ok);
    EXPECT_EQ(frame_look(other).type_refs(), 1u);
    EXPECT_EQ(ext(dom0(), CERO_MMUEXT_NEW_BASEPTR, l4.raw(), 0, a().domain->id.raw()),
              code(Errno::perm));
    EXPECT_EQ(ext(dom0(), CERO_MMUEXT_UNPIN_TABLE, l4.raw(), 0, a().domain->id.raw()), ok);
}

TEST_F(PagingTest, OtherExtendedOperations) {
    EXPECT_EQ(ext(a(), CERO_MMUEXT_CLEAR_PAGE, data.raw()), ok);
    words(data)[4] = 9;
    EXPECT_EQ(ext(a(), CERO_MMUEXT_COPY_PAGE, other.raw(), data.raw()), ok);
    EXPECT_EQ(words(other)[4], 9u);
    ASSERT_EQ(pin(a(), 1, l1), ok);
    EXPECT_EQ(ext(a(), CERO_MMUEXT_CLEAR_PAGE, l1.raw()), code(Errno::busy));
    EXPECT_EQ(ext(a(), CERO_MMUEXT_COPY_PAGE, other.raw(), new_frame(b()).raw()),
              code(Errno::inval));
}

TEST_F(PagingTest, LdtAndUnknownOperations) {
    EXPECT_EQ(ext(a(), CERO_MMUEXT_SET_LDT, 0x5001, 3), code(Errno::inval));
    EXPECT_EQ(ext(a(), CERO_MMUEXT_SET_LDT, 0x5000, 8193), code(Errno::inval));
    EXPECT_EQ(ext(a(), CERO_MMUEXT_SET_LDT, 0x5000, 30), ok);
    EXPECT_EQ(a().vcpu->arch.ldt_entries, 30u);
    EXPECT_EQ(ext(a(), CERO_MMUEXT_MARK_SUPER, 0), code(Errno::opnotsupp));
    EXPECT_EQ(ext(a(), 99, 0), code(Errno::nosys));
    EXPECT_EQ(ext(a(), CERO_MMUEXT_FLUSH_CACHE, 0), code(Errno::inval));
    EXPECT_EQ(ext(dom0(), CERO_MMUEXT_FLUSH_CACHE, 0), ok);
    std::uint64_t mask = 1;
    EXPECT_EQ(ext(a(), CERO_MMUEXT_TLB_FLUSH_MULTI, 0, reinterpret_cast<std::uint64_t>(&mask)), ok);
    EXPECT_EQ(ext(a(), CERO_MMUEXT_INVLPG_MULTI, 0, 0), code(Errno::fault));
}

TEST_F(PagingTest, DestructionDropsPinnedAndLoadedTrees) {
    ASSERT_EQ(pin(a(), 4, l4), ok);
    ASSERT_EQ(pin(a(), 1, l1), ok);
    load();
    ASSERT_TRUE(frame_release_allocation(l1, a())) << "given back while in use";
    destroy(a());
    EXPECT_EQ(a().domain->memory.owned_pages.load(Order::relaxed), 0u);
    EXPECT_EQ(DomainTable::freed.size(), 0u);
}

} // namespace
} // namespace cero::test
