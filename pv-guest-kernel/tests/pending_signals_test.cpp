// SPDX-License-Identifier: BSD-2-Clause
// Pending signals: merging, order, and a queue that overflows without losing a signal.
#include "sched/thread.hpp"

#include <gtest/gtest.h>

namespace {

using namespace kernel;

SignalInfo signal(int number, int value = 0) {
    SignalInfo info;
    info.signal = number;
    info.value = static_cast<std::uint64_t>(value);
    return info;
}
constexpr std::uint64_t all = ~std::uint64_t{0};

TEST(PendingSignals, StandardSignalsMergeAndKeepTheFirstDetails) {
    PendingSignals pending;
    pending.add(signal(10, 1));
    pending.add(signal(10, 2));
    SignalInfo info;
    ASSERT_TRUE(pending.take(all, info));
    EXPECT_EQ(info.signal, 10);
    EXPECT_EQ(info.value, 1U);
    EXPECT_FALSE(pending.take(all, info));
}

TEST(PendingSignals, LowestNumberFirstAndOnlyFromTheSet) {
    PendingSignals pending;
    pending.add(signal(15));
    pending.add(signal(2));
    SignalInfo info;
    ASSERT_TRUE(pending.take(signal_bit(15), info));
    EXPECT_EQ(info.signal, 15);
    EXPECT_FALSE(pending.take(~signal_bit(2), info));
    ASSERT_TRUE(pending.take(all, info));
    EXPECT_EQ(info.signal, 2);
}

TEST(PendingSignals, RealTimeSignalsQueueInOrder) {
    PendingSignals pending;
    for (int i = 0; i < 3; ++i)
        pending.add(signal(40, i));
    SignalInfo info;
    for (unsigned i = 0; i < 3; ++i) {
        ASSERT_TRUE(pending.take(all, info));
        EXPECT_EQ(info.value, i);
    }
    EXPECT_EQ(pending.bits(), 0U);
}

TEST(PendingSignals, FullQueueLosesDetailsButNoSignal) {
    PendingSignals pending;
    for (unsigned i = 0; i < 3 * PendingSignals::queue_size; ++i)
        pending.add(signal(35, static_cast<int>(i)));
    pending.add(signal(9));
    SignalInfo info;
    ASSERT_TRUE(pending.take(signal_bit(9), info));
    EXPECT_EQ(info.signal, 9);
    unsigned taken = 0;
    while (pending.take(all, info))
        ++taken;
    EXPECT_EQ(taken, PendingSignals::queue_size);
}

TEST(PendingSignals, RemoveForgetsDetailsToo) {
    PendingSignals pending;
    pending.add(signal(20, 1));
    pending.add(signal(21, 2));
    pending.remove(signal_bit(20));
    pending.add(signal(20, 3));
    SignalInfo info;
    ASSERT_TRUE(pending.take(signal_bit(20), info));
    EXPECT_EQ(info.value, 3U);
}

} // namespace
