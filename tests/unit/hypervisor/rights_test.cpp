// SPDX-License-Identifier: BSD-2-Clause
// RangeSet against a bit per number.
#include <core/domain/rights.hpp>

#include <gtest/gtest.h>

#include <bitset>
#include <random>

namespace cero {
namespace {

TEST(RangeSet, JoinsAndSplits) {
    RangeSet set;
    EXPECT_TRUE(set.add(10, 19));
    EXPECT_TRUE(set.add(20, 29));
    EXPECT_EQ(set.size(), 1u);
    EXPECT_TRUE(set.contains(10, 29));
    EXPECT_TRUE(set.remove(15, 15));
    EXPECT_EQ(set.size(), 2u);
    EXPECT_FALSE(set.contains(14, 16));
    EXPECT_TRUE(set.add(0, ~0ull));
    EXPECT_EQ(set.size(), 1u);
    EXPECT_EQ(set.add(3, 2).error(), Errno::inval);
}

TEST(RangeSet, RefusesWhatItCannotHold) {
    RangeSet set;
    for (unsigned n = 0; n < RangeSet::capacity; ++n)
        ASSERT_TRUE(set.add(n * 10, n * 10 + 5));
    EXPECT_EQ(set.add(1000, 1001).error(), Errno::nospc);
    EXPECT_EQ(set.remove(2, 3).error(), Errno::nospc);
    EXPECT_TRUE(set.contains(0, 5));
}

TEST(RangeSet, AgreesWithBits) {
    std::mt19937 random{7};
    constexpr unsigned top = 200;
    RangeSet set;
    std::bitset<top> bits;
    for (unsigned round = 0; round < 20000; ++round) {
        const unsigned first = random() % top;
        const unsigned last = std::min(top - 1, first + static_cast<unsigned>(random() % 12));
        const bool add = random() % 2 == 0;
        const Status done = add ? set.add(first, last) : set.remove(first, last);
        for (unsigned n = first; done && n <= last; ++n)
            bits.set(n, add);
        bool all = true;
        const unsigned from = random() % top;
        const unsigned to = std::min(top - 1, from + static_cast<unsigned>(random() % 4));
        for (unsigned n = from; n <= to; ++n)
            all = all && bits[n];
        ASSERT_EQ(set.contains(from, to), all);
    }
}

} // namespace
} // namespace cero
