// SPDX-License-Identifier: BSD-2-Clause
// The buddy allocator: splitting, joining, cleanliness, address limits, exhaustion.
#include "fixture.hpp"

#include <random>

namespace cero::test {
namespace {

using AllocatorTest = MemoryTest;

bool is_zero(MachineFrame frame) {
    const auto* words = arch::frame_ptr<std::uint64_t>(frame);
    for (unsigned n = 0; n < 512; ++n)
        if (words[n] != 0)
            return false;
    return true;
}

TEST_F(AllocatorTest, HolesAreNotRam) {
    EXPECT_EQ(frame_look(MachineFrame{hole_first}).owner(), slot_io);
    EXPECT_EQ(frame_look(MachineFrame{machine_frames + 5}).owner(), slot_io);
    EXPECT_EQ(allocator_free_frames() + 3, machine_frames - hole_count) << "three grant tables";
}

TEST_F(AllocatorTest, BlocksAreAlignedAndDisjoint) {
    std::mt19937 random{1};
    std::vector<std::pair<MachineFrame, unsigned>> held;
    std::vector<bool> taken(machine_frames);
    const std::uint64_t before = allocator_free_frames();
    for (int step = 0; step < 20000; ++step) {
        const unsigned order = random() % 6;
        if (random() % 2 != 0 && !held.empty()) {
            const auto n = random() % held.size();
            for (std::uint64_t i = 0; i < 1ull << held[n].second; ++i)
                taken[held[n].first.raw() + i] = false;
            allocator_give(held[n].first, held[n].second);
            held[n] = held.back();
            held.pop_back();
            continue;
        }
        auto block = allocator_take(order, 0, random() % 2 != 0);
        if (!block)
            continue;
        ASSERT_EQ(block->first.raw() % (1u << order), 0u);
        for (std::uint64_t i = 0; i < 1ull << order; ++i) {
            ASSERT_FALSE(taken[block->first.raw() + i]);
            ASSERT_TRUE(arch::frame_is_ram(block->first + i));
            taken[block->first.raw() + i] = true;
        }
        held.emplace_back(block->first, order);
        if (random() % 8 == 0)
            allocator_scrub_some();
    }
    for (const auto& [first, order] : held)
        allocator_give(first, order);
    EXPECT_EQ(allocator_free_frames(), before);
    while (allocator_scrub_some()) {
    }
    EXPECT_EQ(allocator_dirty_frames(), 0u);
    auto large = allocator_take(9, 0, true);
    ASSERT_TRUE(large) << "everything joined again";
    allocator_give(large->first, 9);
}

TEST_F(AllocatorTest, GuestsGetZeroedFrames) {
    const MachineFrame frame = new_frame(a());
    words(frame)[17] = 0xdead;
    ASSERT_TRUE(frame_release_allocation(frame, a()));
    for (int n = 0; n < 50; ++n)
        EXPECT_TRUE(is_zero(new_frame(b())));
}

TEST_F(AllocatorTest, ScrubbedFramesStayZero) {
    while (allocator_scrub_some()) {
    }
    auto block = allocator_take(3, 0, true);
    ASSERT_TRUE(block);
    EXPECT_TRUE(block->clean);
    for (unsigned n = 0; n < 8; ++n)
        EXPECT_TRUE(is_zero(block->first + n));
    allocator_give(block->first, 3);
    EXPECT_EQ(allocator_dirty_frames(), 8u);
}

TEST_F(AllocatorTest, AddressLimitIsKept) {
    for (int n = 0; n < 20; ++n) {
        auto block = allocator_take(1, 20, false); // below 1 MiB
        ASSERT_TRUE(block);
        EXPECT_LE(block->first.raw() + 2, 256u);
        allocator_give(block->first, 1);
    }
    EXPECT_EQ(allocator_take(9, 20, false).error(), Errno::nomem);
}

TEST_F(AllocatorTest, AnAuditWithoutMemoryIsNoCleanOne) {
    const MachineFrame frame = new_frame(a());
    std::vector<MachineFrame> taken;
    for (unsigned order = max_order + 1; order-- > 0;)
        while (auto block = allocator_take(order, 0, false))
            for (std::uint64_t n = 0; n < 1ull << order; ++n)
                taken.push_back(block->first + n);
    EXPECT_EQ(frame_audit(), std::nullopt);
    // With scattered frames only it counts in several parts, and still finds what is wrong.
    std::uint64_t given = 0;
    for (const MachineFrame free : taken)
        if (free.raw() % 2 == 0) {
            allocator_give(free, 0);
            ++given;
        }
    EXPECT_EQ(frame_audit(), 0u);
    EXPECT_EQ(allocator_free_frames(), given);
    ASSERT_TRUE(frame_get(frame, a().domain->slot));
    EXPECT_EQ(frame_audit(), 1u);
    frame_put(frame);
    for (const MachineFrame free : taken)
        if (free.raw() % 2 != 0)
            allocator_give(free, 0);
    EXPECT_EQ(frame_audit(), 0u);
}

TEST_F(AllocatorTest, ExhaustionIsAnErrorAndRecovers) {
    std::vector<MachineFrame> all;
    for (;;) {
        auto block = allocator_take(0, 0, false);
        if (!block)
            break;
        all.push_back(block->first);
    }
    EXPECT_EQ(allocator_free_frames(), 0u);
    EXPECT_EQ(allocate_hypervisor_frame().error(), Errno::nomem);
    EXPECT_EQ(allocate_frame(a()).error(), Errno::nomem);
    EXPECT_EQ(a().domain->memory.total_pages.load(Order::relaxed), 0u);
    for (const MachineFrame frame : all)
        allocator_give(frame, 0);
}

} // namespace
} // namespace cero::test
