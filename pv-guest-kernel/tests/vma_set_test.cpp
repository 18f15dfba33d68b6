// SPDX-License-Identifier: BSD-2-Clause
// The set of areas against a model of single pages.
#include "mm/vma_set.hpp"
#include "tests/host_pages.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>

namespace {

using namespace kernel;

constexpr UserAddress page(std::uint64_t number) {
    return number << page_shift;
}

TEST(VmaSet, FindsWhatWasInserted) {
    VmaSet set;
    std::map<std::uint64_t, std::unique_ptr<Vma>> model; // first page -> area
    std::mt19937_64 random{7};
    for (int step = 0; step < 20'000; ++step) {
        const std::uint64_t first = 16 + random() % 1000;
        const std::uint64_t count = 1 + random() % 8;
        if (random() % 3 != 0) {
            bool overlap = false;
            for (const auto& [start, area] : model)
                overlap = overlap || (page(first) < area->end && page(first + count) > area->start);
            ASSERT_EQ(set.overlaps(page(first), page(first + count)), overlap);
            if (overlap)
                continue;
            auto area = std::make_unique<Vma>();
            area->start = page(first);
            area->end = page(first + count);
            ASSERT_TRUE(set.reserve(1));
            set.insert(*area);
            model[first] = std::move(area);
        } else if (!model.empty()) {
            auto victim = model.lower_bound(first);
            if (victim == model.end())
                continue;
            set.remove_at(set.first_ending_above(victim->second->start));
            model.erase(victim);
        }
        const UserAddress probe = page(random() % 1030) + random() % page_size;
        Vma* expected = nullptr;
        for (const auto& [start, area] : model)
            if (area->start <= probe && probe < area->end)
                expected = area.get();
        ASSERT_EQ(set.find(probe), expected);
        ASSERT_EQ(set.size(), model.size());
    }
}

TEST(VmaSet, GapsAreHighestFirstAndFree) {
    VmaSet set;
    std::vector<std::unique_ptr<Vma>> areas;
    std::mt19937_64 random{9};
    for (;;) {
        const std::uint64_t size = page(1 + random() % 5);
        const UserAddress at = set.find_gap(size, page(16), page(200));
        if (at == 0)
            break;
        ASSERT_GE(at, page(16));
        ASSERT_LE(at + size, page(200));
        ASSERT_FALSE(set.overlaps(at, at + size));
        auto area = std::make_unique<Vma>();
        area->start = at;
        area->end = at + size;
        ASSERT_TRUE(set.reserve(1));
        set.insert(*area);
        areas.push_back(std::move(area));
    }
    EXPECT_GT(set.size(), 20U);
    // Areas beyond the window neither hide gaps nor count as such.
    auto above = std::make_unique<Vma>();
    above->start = page(300);
    above->end = page(310);
    ASSERT_TRUE(set.reserve(1));
    set.insert(*above);
    set.remove_at(0);
    const UserAddress freed = areas.back()->start;
    EXPECT_EQ(set.find_gap(page(1), page(16), page(200)) >= freed, true);
}

TEST(VmaSet, ReserveMakesRoomForAllOfThem) {
    VmaSet set;
    ASSERT_TRUE(set.reserve(40)); // more than the first allocation's default
    std::vector<Vma> areas(40);
    for (std::size_t i = 0; i < areas.size(); ++i) {
        areas[i].start = page(16 + i);
        areas[i].end = page(17 + i);
        set.insert(areas[i]);
    }
    EXPECT_EQ(set.find(page(55))->start, page(55));
    host::fail_heap(true);
    EXPECT_EQ(set.reserve(1000).error(), Errno::nomem);
    host::fail_heap(false);
    EXPECT_EQ(set.size(), 40U);
}

TEST(VmaSet, OnlyLikeNeighboursMerge) {
    Vma low;
    low.start = page(16);
    low.end = page(17);
    Vma high = low;
    high.start = page(17);
    high.end = page(18);
    EXPECT_TRUE(can_merge(low, high));
    high.protection = protection::read;
    EXPECT_FALSE(can_merge(low, high));
    high.protection = low.protection;
    high.shared = low.shared = true;
    EXPECT_FALSE(can_merge(low, high));
    high.shared = low.shared = false;
    high.start = page(18);
    EXPECT_FALSE(can_merge(low, high));
}

} // namespace
