// SPDX-License-Identifier: BSD-2-Clause
// Grant tables: map, unmap, replace, copy; hostile granters and grantees; death in either order; a
// random run against a naive model.
#include "fixture.hpp"

#include <core/grant/grant_state.hpp>

#include <random>

namespace cero::test {
namespace {

class GrantTest : public MemoryTest {
protected:
    void SetUp() override {
        MemoryTest::SetUp();
        for (Guest* guest : {&a(), &b()}) {
            ASSERT_TRUE(guest->domain->grants->grow(*guest->domain, 1));
            // b maps at any page of its first 2 MiB.
            const MachineFrame l4 = new_frame(*guest), l3 = new_frame(*guest),
                               l2 = new_frame(*guest);
            const MachineFrame l1 = new_frame(*guest);
            words(l4)[0] = to(l3, table_bits).raw();
            words(l3)[0] = to(l2, table_bits).raw();
            words(l2)[0] = to(l1, table_bits).raw();
            ASSERT_TRUE(set_vcpu_roots(*dom0().vcpu, *guest->vcpu, l4, invalid_frame));
            l1_of[guest == &b()] = l1;
        }
        shared = new_frame(a());
        for (unsigned n = 0; n < 512; ++n)
            words(shared)[n] = n * 3;
    }
    [[nodiscard]] MachineFrame l1() const { return l1_of[1]; }

    cero_grant_entry_v1& entry(Guest& guest, std::uint32_t ref) {
        GrantTable& table = *guest.domain->grants;
        return arch::frame_ptr<cero_grant_entry_v1>(
            MachineFrame{table.shared[ref / 512]})[ref % 512];
    }
    void grant(std::uint32_t ref, MachineFrame frame, bool readonly = false,
               unsigned to_domain = 2) {
        cero_grant_entry_v1& e = entry(a(), ref);
        e.domid = static_cast<std::uint16_t>(to_domain);
        e.frame = static_cast<std::uint32_t>(frame.raw());
        e.flags =
            static_cast<std::uint16_t>(CERO_GTF_permit_access | (readonly ? CERO_GTF_readonly : 0));
    }
    template <typename Op>
    static int call(Guest& guest, unsigned command, Op* ops, std::uint64_t count) {
        std::array<std::uint64_t, 4> args{command, reinterpret_cast<std::uint64_t>(ops), count, 0};
        return run(guest, [&] {
            const auto status = grant_table_op(*guest.vcpu, args[0], args[1], args[2]);
            take_continuation(guest, args);
            return static_cast<int>(status.error());
        });
    }
    static std::uint64_t page(unsigned n) { return std::uint64_t{n} << page_shift; }
    cero_gnttab_map_grant_ref map_op(std::uint32_t ref, std::uint64_t address,
                                     std::uint32_t flags = CERO_GNTMAP_host_map) {
        cero_gnttab_map_grant_ref op{};
        op.host_addr = address;
        op.flags = flags;
        op.ref = ref;
        op.dom = 1;
        return op;
    }
    int map(std::uint32_t ref, std::uint64_t address, std::uint32_t flags, std::uint32_t& handle) {
        auto op = map_op(ref, address, flags);
        op.status = 77;
        EXPECT_EQ(call(b(), CERO_GNTTABOP_map_grant_ref, &op, 1), ok);
        handle = op.handle;
        return op.status;
    }
    int unmap(std::uint32_t handle, std::uint64_t address, std::uint64_t bus = 0) {
        cero_gnttab_unmap_grant_ref op{};
        op.host_addr = address;
        op.dev_bus_addr = bus;
        op.handle = handle;
        EXPECT_EQ(call(b(), CERO_GNTTABOP_unmap_grant_ref, &op, 1), ok);
        return op.status;
    }
    MachineFrame l1_of[2];
    MachineFrame shared;
    std::uint32_t handle = 0;
};

TEST_F(GrantTest, MapAndUnmapByAddress) {
    grant(8, shared);
    ASSERT_EQ(map(8, page(3), CERO_GNTMAP_host_map, handle), CERO_GNTST_okay);
    const Pte mapped{words(l1())[3]};
    EXPECT_EQ(mapped.frame(), shared);
    EXPECT_TRUE(mapped.is_writable());
    EXPECT_NE(mapped.raw() & Pte::no_execute, 0u);
    EXPECT_EQ(entry(a(), 8).flags, CERO_GTF_permit_access | CERO_GTF_reading | CERO_GTF_writing);
    EXPECT_EQ(frame_look(shared).type_refs(), 2u) << "the entry's and the record's";
    EXPECT_EQ(frame_audit(), 0u);
    EXPECT_EQ(unmap(handle + 1, page(3)), CERO_GNTST_bad_handle);
    EXPECT_EQ(unmap(handle, page(4)), CERO_GNTST_general_error) << "not there";
    EXPECT_EQ(unmap(handle, page(3)), CERO_GNTST_okay);
    EXPECT_EQ(words(l1())[3], 0u);
    EXPECT_EQ(entry(a(), 8).flags, CERO_GTF_permit_access);
    EXPECT_EQ(frame_look(shared).refs(), 1u);
    EXPECT_EQ(unmap(handle, page(3)), CERO_GNTST_bad_handle);
}

TEST_F(GrantTest, MapByEntryAddressWithAvailableBits) {
    grant(9, shared, true);
    const std::uint64_t address = entry_address(l1(), 40);
    const std::uint32_t flags = CERO_GNTMAP_host_map | CERO_GNTMAP_readonly |
                                CERO_GNTMAP_contains_pte | CERO_GNTMAP_application_map |
                                (5u << CERO_GNTMAP_guest_avail_shift);
    ASSERT_EQ(map(9, address, flags, handle), CERO_GNTST_okay);
    EXPECT_EQ(words(l1())[40] & Pte::available, 5ull << 9);
    EXPECT_EQ(words(l1())[40] & guest_kernel, 0u);
    EXPECT_FALSE(Pte{words(l1())[40]}.is_writable());
    EXPECT_EQ(entry(a(), 9).flags, CERO_GTF_permit_access | CERO_GTF_readonly | CERO_GTF_reading);
    std::uint32_t second = 0;
    EXPECT_EQ(map(9, address + 4, flags, second), CERO_GNTST_general_error) << "misaligned";
    EXPECT_EQ(map(9, entry_address(shared, 0), flags, second), CERO_GNTST_general_error);
    EXPECT_EQ(map(9, address + 8, flags & ~CERO_GNTMAP_readonly, second), CERO_GNTST_general_error);
    EXPECT_EQ(unmap(handle, address), CERO_GNTST_okay);
}

TEST_F(GrantTest, RefusalsLeaveNoTrace) {
    grant(8, shared);
    grant(10, new_frame(b()));                              // not a's frame
    grant(11, MachineFrame{machine_frames});                // no frame
    grant(12, l1_of[0]);                                    // a page table of a
    grant(13, shared, false, 0);                            // for dom0
    grant(14, MachineFrame{a().domain->grants->shared[0]}); // the grant table itself
    const auto before = snapshot();
    struct Case {
        std::uint32_t ref, flags;
        std::uint64_t address;
        int status;
    };
    const std::uint32_t host = CERO_GNTMAP_host_map;
    for (const Case& c : std::vector<Case>{
             {8, 0, page(3), CERO_GNTST_bad_gntref},
             {512, host, page(3), CERO_GNTST_bad_gntref},
             {~0u, host, page(3), CERO_GNTST_bad_gntref},
             {9, host, page(3), CERO_GNTST_general_error},
             {10, host, page(3), CERO_GNTST_general_error},
             {11, host, page(3), CERO_GNTST_general_error},
             {12, host, page(3), CERO_GNTST_general_error},
             {13, host, page(3), CERO_GNTST_general_error},
             {14, host, page(3), CERO_GNTST_general_error},
             {8, host, 1ull << 40, CERO_GNTST_bad_virt_addr},
             {8, host, 0xffff800000000000ull, CERO_GNTST_bad_virt_addr},
         })
        EXPECT_EQ(map(c.ref, c.address, c.flags, handle), c.status) << c.ref;
    auto op = map_op(8, page(3));
    op.dom = 42;
    EXPECT_EQ(call(b(), CERO_GNTTABOP_map_grant_ref, &op, 1), ok);
    EXPECT_EQ(op.status, CERO_GNTST_bad_domain);
    EXPECT_EQ(entry(a(), 8).flags, CERO_GTF_permit_access);
    const auto after = snapshot();
    for (std::size_t n = 0; n < before.size(); ++n)
        EXPECT_EQ(FrameWord{before[n]}.refs(), FrameWord{after[n]}.refs());
}

TEST_F(GrantTest, PinsAreCountedPerEntry) {
    grant(8, shared);
    std::uint32_t reading = 0, writing = 0;
    ASSERT_EQ(map(8, page(1), CERO_GNTMAP_host_map | CERO_GNTMAP_readonly, reading), ok);
    EXPECT_EQ(entry(a(), 8).flags, CERO_GTF_permit_access | CERO_GTF_reading);
    ASSERT_EQ(map(8, page(2), CERO_GNTMAP_host_map, writing), ok);
    // The granter changes its mind about the frame: it counts only once nothing is mapped.
    entry(a(), 8).frame = 1;
    std::uint32_t third = 0;
    ASSERT_EQ(map(8, page(4), CERO_GNTMAP_host_map, third), ok);
    EXPECT_EQ(Pte{words(l1())[4]}.frame(), shared);
    EXPECT_EQ(unmap(third, page(4)), ok);
    EXPECT_EQ(unmap(writing, page(2)), ok);
    EXPECT_EQ(entry(a(), 8).flags, CERO_GTF_permit_access | CERO_GTF_reading);
    entry(a(), 8).flags = 0; // revoked by force: no new users, the old one goes on
    EXPECT_EQ(map(8, page(4), CERO_GNTMAP_host_map, third), CERO_GNTST_general_error);
    EXPECT_EQ(unmap(reading, page(1)), ok);
    EXPECT_EQ(frame_look(shared).refs(), 1u);
}

TEST_F(GrantTest, EntryOverwrittenByTheGrantee) {
    grant(8, shared);
    ASSERT_EQ(map(8, page(3), CERO_GNTMAP_host_map, handle), ok);
    ASSERT_EQ(set_entry(b(), l1(), 3, Pte{}), ok);
    EXPECT_EQ(frame_look(shared).refs(), 2u) << "the record keeps the frame";
    EXPECT_EQ(unmap(handle, page(3)), CERO_GNTST_general_error);
    ASSERT_TRUE(frame_release_allocation(shared, a())) << "given back by a: not reused yet";
    EXPECT_EQ(frame_look(shared).owner(), a().domain->slot);
    destroy(b());
    EXPECT_EQ(frame_look(shared).owner(), slot_free);
    EXPECT_EQ(entry(a(), 8).flags, CERO_GTF_permit_access);
}

TEST_F(GrantTest, DeviceMappings) {
    grant(8, shared);
    ASSERT_EQ(map(8, page(3), CERO_GNTMAP_host_map | CERO_GNTMAP_device_map, handle), ok);
    EXPECT_EQ(unmap(handle, page(3)), ok) << "the device's use goes on";
    EXPECT_EQ(entry(a(), 8).flags & CERO_GTF_writing, CERO_GTF_writing);
    EXPECT_EQ(unmap(handle, 0, 0x1000), CERO_GNTST_bad_dev_addr);
    EXPECT_EQ(unmap(handle, 0, to_phys(shared).raw()), ok);
    EXPECT_EQ(entry(a(), 8).flags, CERO_GTF_permit_access);
}

TEST_F(GrantTest, UnmapAndReplace) {
    grant(8, shared);
    const MachineFrame own = new_frame(b());
    ASSERT_EQ(set_entry(b(), l1(), 5, to(own, rw)), ok);
    ASSERT_EQ(map(8, page(3), CERO_GNTMAP_host_map, handle), ok);
    cero_gnttab_unmap_and_replace op{page(4), page(5), handle, 0, 0};
    EXPECT_EQ(call(b(), CERO_GNTTABOP_unmap_and_replace, &op, 1), ok);
    EXPECT_EQ(op.status, CERO_GNTST_general_error);
    EXPECT_EQ(Pte{words(l1())[5]}.frame(), own) << "put back";
    op.host_addr = page(3);
    EXPECT_EQ(call(b(), CERO_GNTTABOP_unmap_and_replace, &op, 1), ok);
    EXPECT_EQ(op.status, CERO_GNTST_okay);
    EXPECT_EQ(Pte{words(l1())[3]}.frame(), own);
    EXPECT_EQ(words(l1())[5], 0u);
    EXPECT_EQ(frame_audit(), 0u);
}

cero_gnttab_copy copy_op(std::uint32_t ref, MachineFrame own, bool to_grant, unsigned from_offset,
                         unsigned to_offset, unsigned length) {
    cero_gnttab_copy op{};
    auto& granted = to_grant ? op.dest : op.source;
    auto& local = to_grant ? op.source : op.dest;
    granted.u.ref = ref;
    granted.domid = 1;
    local.u.gmfn = own.raw();
    local.domid = CERO_DOMID_SELF;
    op.source.offset = static_cast<std::uint16_t>(from_offset);
    op.dest.offset = static_cast<std::uint16_t>(to_offset);
    op.len = static_cast<std::uint16_t>(length);
    op.flags = to_grant ? CERO_GNTCOPY_dest_gref : CERO_GNTCOPY_source_gref;
    return op;
}

TEST_F(GrantTest, Copy) {
    grant(8, shared);
    grant(9, shared, true);
    const MachineFrame own = new_frame(b());
    std::vector<cero_gnttab_copy> ops{
        copy_op(8, own, false, 8, 16, 32),
        copy_op(9, own, false, 0, 0, 8),
        copy_op(9, own, true, 0, 0, 8),
        copy_op(8, own, false, 4090, 0, 7),
        copy_op(8, own, false, 0, 4095, 2),
        copy_op(8, own, true, 0, 4088, 8),
        copy_op(77, own, false, 0, 0, 8),
        copy_op(8, l1(), false, 0, 0, 8),
        copy_op(8, new_frame(a()), false, 0, 0, 8),
    };
    ops.push_back(copy_op(8, own, false, 0, 0, 8));
    ops.back().dest.domid = 1;
    host::preempt_after(0, true);
    EXPECT_EQ(call(b(), CERO_GNTTABOP_copy, ops.data(), ops.size()), ok);
    const std::array<int, 10> expected{0,
                                       0,
                                       CERO_GNTST_general_error,
                                       CERO_GNTST_bad_copy_arg,
                                       CERO_GNTST_bad_copy_arg,
                                       0,
                                       CERO_GNTST_general_error,
                                       CERO_GNTST_bad_page,
                                       CERO_GNTST_bad_page,
                                       CERO_GNTST_permission_denied};
    for (std::size_t n = 0; n < ops.size(); ++n)
        EXPECT_EQ(ops[n].status, expected[n]) << n;
    EXPECT_EQ(words(own)[2], 3u);
    EXPECT_EQ(words(own)[5], 12u);
    EXPECT_EQ(words(shared)[511], words(own)[0]);
    EXPECT_EQ(entry(a(), 8).flags, CERO_GTF_permit_access);
    EXPECT_EQ(frame_look(shared).refs(), 1u);
}

TEST_F(GrantTest, TableOperations) {
    cero_gnttab_query_size size{};
    size.dom = CERO_DOMID_SELF;
    EXPECT_EQ(call(a(), CERO_GNTTABOP_query_size, &size, 1), ok);
    EXPECT_EQ(size.nr_frames, 1u);
    EXPECT_EQ(size.max_nr_frames, 64u);
    std::array<std::uint64_t, 4> list{};
    cero_gnttab_setup_table setup{};
    setup.dom = CERO_DOMID_SELF;
    setup.nr_frames = 4;
    setup.frame_list = reinterpret_cast<std::uint64_t>(list.data());
    EXPECT_EQ(call(a(), CERO_GNTTABOP_setup_table, &setup, 1), ok);
    EXPECT_EQ(setup.status, CERO_GNTST_okay);
    EXPECT_EQ(list[3], a().domain->grants->shared[3]);
    // The guest maps its table writable; nobody else may.
    EXPECT_EQ(set_entry(a(), l1_of[0], 9, to(MachineFrame{list[0]}, rw)), ok);
    EXPECT_EQ(set_entry(b(), l1(), 9, to(MachineFrame{list[0]}, ro)), code(Errno::inval));
    setup.nr_frames = 65;
    EXPECT_EQ(call(a(), CERO_GNTTABOP_setup_table, &setup, 1), ok);
    EXPECT_EQ(setup.status, CERO_GNTST_general_error);
    setup.dom = 2;
    setup.nr_frames = 1;
    EXPECT_EQ(call(a(), CERO_GNTTABOP_setup_table, &setup, 1), ok);
    EXPECT_EQ(setup.status, CERO_GNTST_permission_denied);
    EXPECT_EQ(call(dom0(), CERO_GNTTABOP_setup_table, &setup, 1), ok);
    EXPECT_EQ(setup.status, CERO_GNTST_okay);
    cero_gnttab_set_version version{2};
    EXPECT_EQ(call(a(), CERO_GNTTABOP_set_version, &version, 1), code(Errno::nosys));
    version.version = 1;
    EXPECT_EQ(call(a(), CERO_GNTTABOP_set_version, &version, 1), ok);
    cero_gnttab_get_version get{};
    get.dom = CERO_DOMID_SELF;
    EXPECT_EQ(call(a(), CERO_GNTTABOP_get_version, &get, 1), ok);
    EXPECT_EQ(get.version, 1u);
    EXPECT_EQ(call(a(), CERO_GNTTABOP_swap_grant_ref, &get, 1), code(Errno::nosys));
    EXPECT_EQ(call(a(), CERO_GNTTABOP_setup_table, &setup, 2), code(Errno::inval));
    cero_gnttab_map_grant_ref* nowhere = nullptr;
    EXPECT_EQ(call(b(), CERO_GNTTABOP_map_grant_ref, nowhere, 1), code(Errno::fault));
    EXPECT_EQ(call(b(), CERO_GNTTABOP_map_grant_ref, nowhere, 0), ok);
}

TEST_F(GrantTest, SeededEntries) {
    ASSERT_TRUE(dom0().domain->grants->seed(*dom0().domain, GrantRef{1}, DomainId{2}, shared));
    EXPECT_EQ(entry(dom0(), 1).flags, CERO_GTF_permit_access);
    EXPECT_EQ(entry(dom0(), 1).domid, 2);
    EXPECT_EQ(dom0().domain->grants->seed(*dom0().domain, GrantRef{8}, DomainId{2}, shared).error(),
              Errno::inval);
}

TEST_F(GrantTest, GranterDiesFirst) {
    grant(8, shared);
    ASSERT_EQ(map(8, page(3), CERO_GNTMAP_host_map, handle), ok);
    destroy(a());
    EXPECT_EQ(a().domain->memory.owned_pages.load(Order::relaxed), 1u);
    std::uint32_t again = 0;
    EXPECT_EQ(map(8, page(4), CERO_GNTMAP_host_map, again), CERO_GNTST_bad_domain);
    EXPECT_EQ(words(shared)[7], 21u);
    EXPECT_EQ(unmap(handle, page(3)), ok);
    EXPECT_EQ(frame_look(shared).owner(), slot_free);
    EXPECT_EQ(a().domain->memory.owned_pages.load(Order::relaxed), 0u);
    GrantTable::destroy(a());
}

TEST_F(GrantTest, GranteeDiesFirst) {
    for (std::uint32_t n = 8; n < 40; ++n) {
        grant(n, shared, n % 2 != 0);
        std::uint32_t ignored = 0;
        ASSERT_EQ(map(n, page(n), CERO_GNTMAP_host_map | (n % 2 != 0 ? CERO_GNTMAP_readonly : 0),
                      ignored),
                  ok);
    }
    host::preempt_after(0, true);
    destroy(b());
    host::never_preempt();
    EXPECT_EQ(frame_look(shared).refs(), 1u);
    for (std::uint32_t n = 8; n < 40; ++n)
        EXPECT_EQ(entry(a(), n).flags & (CERO_GTF_reading | CERO_GTF_writing), 0);
}

TEST_F(GrantTest, FailedAllocationsAreUndone) {
    grant(8, shared);
    std::vector<MachineFrame> hoard;
    while (auto block = allocator_take(0, 0, false))
        hoard.push_back(block->first);
    EXPECT_EQ(map(8, page(3), CERO_GNTMAP_host_map, handle), CERO_GNTST_no_device_space);
    EXPECT_EQ(a().domain->grants->grow(*a().domain, 2).error(), Errno::nomem);
    allocator_give(hoard.back(), 0);
    hoard.pop_back();
    EXPECT_EQ(a().domain->grants->grow(*a().domain, 2).error(), Errno::nomem) << "needs two";
    for (const MachineFrame frame : hoard)
        allocator_give(frame, 0);
}

TEST_F(GrantTest, BatchesArePreemptedAndComplete) {
    std::vector<cero_gnttab_map_grant_ref> ops;
    for (unsigned n = 0; n < 300; ++n) {
        grant(8 + n, shared);
        ops.push_back(map_op(8 + n, page(n + 1)));
    }
    host::preempt_after(0, true);
    ASSERT_EQ(call(b(), CERO_GNTTABOP_map_grant_ref, ops.data(), ops.size()), ok);
    EXPECT_EQ(frame_look(shared).type_refs(), 600u);
    std::vector<cero_gnttab_unmap_grant_ref> unmaps;
    for (unsigned n = 0; n < 300; ++n) {
        EXPECT_EQ(ops[n].status, ok);
        unmaps.push_back({page(n + 1), 0, ops[n].handle, 0, 0});
    }
    const std::uint64_t flushes = host::flushes.remote.load();
    ASSERT_EQ(call(b(), CERO_GNTTABOP_unmap_grant_ref, unmaps.data(), unmaps.size()), ok);
    EXPECT_EQ(host::flushes.remote - flushes, 10u) << "one per 32";
    EXPECT_EQ(frame_look(shared).refs(), 1u);
}

TEST_F(GrantTest, UsesOfOneEntryAreBounded) {
    grant(8, shared);
    std::vector<std::uint32_t> handles;
    for (unsigned n = 1; n <= cero::grant::max_pins; ++n) {
        ASSERT_EQ(map(8, page(n), CERO_GNTMAP_host_map, handle), ok);
        handles.push_back(handle);
    }
    EXPECT_EQ(map(8, page(400), CERO_GNTMAP_host_map, handle), CERO_GNTST_general_error);
    for (unsigned n = 1; n <= cero::grant::max_pins; ++n)
        ASSERT_EQ(unmap(handles[n - 1], page(n)), ok);
    EXPECT_EQ(entry(a(), 8).flags, CERO_GTF_permit_access);
}

TEST_F(GrantTest, RandomRunAgainstAModel) {
    struct Mapped {
        std::uint32_t ref, handle;
        unsigned slot;
        bool readonly;
    };
    std::mt19937 random{7};
    std::vector<MachineFrame> frames{shared, new_frame(a()), new_frame(a())};
    std::vector<Mapped> model;
    std::map<std::uint32_t, std::pair<MachineFrame, bool>> granted; // ref -> frame, readonly
    std::vector<bool> used(512);
    for (int step = 0; step < 6000; ++step) {
        const std::uint32_t ref = 8 + random() % 12;
        const bool in_use =
            std::any_of(model.begin(), model.end(), [&](const Mapped& m) { return m.ref == ref; });
        switch (random() % 4) {
        case 0: // (re)grant, only while unused, as a sane granter does
            if (!in_use) {
                const auto frame = frames[random() % frames.size()];
                const bool readonly = random() % 3 == 0;
                grant(ref, frame, readonly);
                granted[ref] = {frame, readonly};
            }
            break;
        case 1:
            if (!in_use) {
                entry(a(), ref).flags = 0;
                granted.erase(ref);
            }
            break;
        case 2: {
            const unsigned slot = 1 + random() % 500;
            const bool readonly = random() % 2 == 0;
            if (used[slot])
                break;
            std::uint32_t h = 0;
            const int status = map(ref, page(slot),
                                   CERO_GNTMAP_host_map | (readonly ? CERO_GNTMAP_readonly : 0), h);
            const auto found = granted.find(ref);
            const bool allowed = found != granted.end() && (readonly || !found->second.second);
            ASSERT_EQ(status, allowed ? CERO_GNTST_okay : CERO_GNTST_general_error);
            if (allowed) {
                model.push_back({ref, h, slot, readonly});
                used[slot] = true;
            }
            break;
        }
        default:
            if (model.empty())
                break;
            const auto n = random() % model.size();
            ASSERT_EQ(unmap(model[n].handle, page(model[n].slot)), ok);
            used[model[n].slot] = false;
            model[n] = model.back();
            model.pop_back();
        }
        if (step % 500 == 0) {
            ASSERT_EQ(frame_audit(), 0u);
        }
        for (const auto& [r, what] : granted) {
            unsigned readers = 0, writers = 0;
            for (const Mapped& m : model)
                if (m.ref == r)
                    ++(m.readonly ? readers : writers);
            const unsigned flags = CERO_GTF_permit_access | (what.second ? CERO_GTF_readonly : 0) |
                                   (readers + writers != 0 ? CERO_GTF_reading : 0) |
                                   (writers != 0 ? CERO_GTF_writing : 0);
            ASSERT_EQ(entry(a(), r).flags, flags);
        }
    }
}

} // namespace
} // namespace cero::test
