// SPDX-License-Identifier: BSD-2-Clause
// The page allocator: blocks never overlap, are aligned, and merge back into what they were.
#include "mm/buddy.hpp"
#include "tests/host_pages.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace {

using namespace kernel;

struct Block {
    Page* page;
    unsigned order;
};

TEST(Buddy, RandomOperationsAgainstAModel) {
    constexpr std::uint64_t frames = 4096;
    host::set_frames(frames);
    buddy_add(GuestFrame{1}, 99); // an odd range, as at start-up
    buddy_add(GuestFrame{128}, frames - 128);
    const std::uint64_t all = buddy_free_pages();
    std::vector<bool> taken(frames, false);
    std::vector<Block> blocks;
    std::mt19937 random{42};
    for (int step = 0; step < 200'000; ++step) {
        if (blocks.empty() || random() % 100 < 52) {
            const unsigned order = random() % 8 == 0 ? random() % (max_order + 1) : random() % 3;
            Page* page = buddy_allocate(order);
            if (page == nullptr)
                continue;
            const std::uint64_t first = page->frame().raw();
            ASSERT_EQ(first % (1U << order), 0U);
            ASSERT_TRUE(first >= 128 || (first >= 1 && first + (1U << order) <= 100));
            for (std::uint64_t i = 0; i < (1U << order); ++i) {
                ASSERT_FALSE(taken[first + i]);
                taken[first + i] = true;
            }
            page->use = static_cast<PageUse>(2 + random() % 5); // whatever its owner makes of it
            blocks.push_back({page, order});
        } else {
            const std::size_t index = random() % blocks.size();
            const Block block = blocks[index];
            blocks[index] = blocks.back();
            blocks.pop_back();
            for (std::uint64_t i = 0; i < (1U << block.order); ++i)
                taken[block.page->frame().raw() + i] = false;
            buddy_free(*block.page, block.order);
        }
        std::uint64_t used = 0;
        if (step % 10'000 == 0) {
            for (const bool is_taken : taken)
                used += is_taken ? 1 : 0;
            ASSERT_EQ(buddy_free_pages() + used, all);
        }
    }
    for (const Block& block : blocks)
        buddy_free(*block.page, block.order);
    EXPECT_EQ(buddy_free_pages(), all);
    // Everything merged: the largest blocks are there again.
    unsigned largest = 0;
    while (buddy_allocate(max_order) != nullptr)
        ++largest;
    EXPECT_EQ(largest, (frames - 1024) >> max_order);
}

TEST(Buddy, FreeingTwiceIsNoticed) {
    if (total_frames() == 0) {
        host::set_frames(64);
        buddy_add(GuestFrame{0}, 64);
    }
    Page* page = buddy_allocate(0);
    ASSERT_NE(page, nullptr);
    Page* neighbour = page_of(GuestFrame{page->frame().raw() ^ 1});
    neighbour->use = PageUse::kernel; // keeps the freed page a block of its own
    buddy_free(*page, 0);
    EXPECT_DEATH(buddy_free(*page, 0), "");
}

} // namespace
