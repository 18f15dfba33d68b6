// SPDX-License-Identifier: BSD-2-Clause
// EarlyMemory against a bitmap of pages.
#include <arch/x86_64/mm/early_memory.hpp>

#include <gtest/gtest.h>

#include <random>
#include <vector>

using namespace cero::arch;

namespace {

constexpr std::uint64_t page = 4096, pages = 512;
const MemoryRange map[] = {
    {0, 100 * page - 100, MemoryType::ram}, // a partial page at its end is not counted
    {100 * page, 20 * page, MemoryType::reserved},
    {120 * page + 5, 300 * page, MemoryType::ram},
};

std::vector<bool> model() {
    std::vector<bool> free(pages);
    for (std::uint64_t n = 0; n < pages; ++n)
        free[n] = n < 99 || (n >= 121 && n < 420);
    return free;
}
std::vector<bool> visited(const EarlyMemory& memory) {
    std::vector<bool> free(pages);
    std::uint64_t last = 0;
    memory.for_each_free([&](std::uint64_t base, std::uint64_t length) {
        EXPECT_GE(base, last);
        EXPECT_EQ(base % page, 0u);
        EXPECT_GT(length, 0u);
        for (std::uint64_t n = 0; n < length / page; ++n)
            free[base / page + n] = true;
        last = base + length;
    });
    return free;
}

TEST(EarlyMemory, AgreesWithABitmap) {
    std::mt19937 random{1};
    for (unsigned round = 0; round < 300; ++round) {
        EarlyMemory memory{map};
        std::vector<bool> free = model();
        ASSERT_EQ(visited(memory), free);
        for (unsigned step = 0; step < 20; ++step) {
            if (random() % 2 == 0) {
                const std::uint64_t base = random() % (440 * page), size = random() % (9 * page);
                ASSERT_TRUE(memory.reserve(base, size));
                for (std::uint64_t n = base / page; size != 0 && n <= (base + size - 1) / page; ++n)
                    free[n] = false;
            } else {
                const std::uint64_t count = 1 + random() % 16, limit = (random() % 450) * page;
                const std::uint64_t got = memory.allocate(count * page, page, limit);
                for (std::uint64_t n = 0; got != 0 && n < count; ++n) {
                    ASSERT_TRUE(free[got / page + n]);
                    ASSERT_LT(got / page + n, limit / page);
                    free[got / page + n] = false;
                }
            }
            ASSERT_EQ(visited(memory), free);
        }
    }
}

TEST(EarlyMemory, AllocatesAlignedFromTheTop) {
    EarlyMemory memory{map};
    EXPECT_EQ(memory.allocate(64 * page, 64 * page, ~0ull), 320 * page);
    EXPECT_EQ(memory.allocate(page, page, ~0ull), 419 * page);
    EXPECT_EQ(memory.allocate(400 * page, page, ~0ull), 0u);
    EXPECT_EQ(memory.ram_end(), 420 * page + 5);
}

} // namespace
