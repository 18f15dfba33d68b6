// SPDX-License-Identifier: BSD-2-Clause
// GuestQuota: floods, honest loads, idleness, and clocks at their edges.
#include "event/guest_quota.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

using namespace kernel;

constexpr Nanoseconds hour = 3600 * ns_per_s;
constexpr Nanoseconds crossing = 800; ///< out of events and in again

/// Threads and events that take turns; what each had.
struct Cpu {
    GuestQuota quota;
    Nanoseconds now{hour};
    Nanoseconds in_events{};
    Nanoseconds in_threads{};

    Cpu() {
        quota.begin(now);
        enter();
        leave();
        now += crossing; // as measured at the start
        enter();
        leave();
    }
    /// One dispatch in which a guest always has another event, each of `handler`. True if it ended
    /// because the quota was spent.
    bool flooded_dispatch(Nanoseconds handler, unsigned most) {
        bool is_spent = false;
        for (unsigned i = 0; i < most && !is_spent; ++i) {
            is_spent = quota.is_spent(now);
            if (!is_spent)
                take(in_events, handler);
        }
        return is_spent;
    }
    void take(Nanoseconds& account, Nanoseconds time) {
        now += time;
        account += time;
    }
    void enter() { quota.enter(now); }
    void leave() { quota.leave(now); }
    /// Between two dispatches: the way out and in, and what a thread gets done.
    void gap(Nanoseconds thread) {
        now += crossing;
        take(in_threads, thread);
    }
};

TEST(GuestQuota, AFloodInsideOneDispatchLeavesThreadsTheirShare) {
    for (const Nanoseconds handler :
         {Nanoseconds{200}, 10 * ns_per_us, 2 * ns_per_ms, 9 * ns_per_ms}) {
        Cpu cpu;
        const Nanoseconds start = cpu.now;
        while (cpu.now < start + ns_per_s) {
            cpu.enter();
            ASSERT_TRUE(cpu.flooded_dispatch(handler, 1'000'000)) << "handlers of " << handler;
            const Nanoseconds left = cpu.quota.time_left(cpu.now);
            cpu.leave();
            cpu.gap(left);
        }
        EXPECT_GE(cpu.in_threads * 100, (cpu.now - start) * 20) << "handlers of " << handler;
        EXPECT_GE(cpu.in_events * 100, (cpu.now - start) * 50) << "handlers of " << handler;
    }
}

TEST(GuestQuota, AnUpcallBeforeEachInstructionIsNoProgressOfThreads) {
    Cpu cpu;
    const Nanoseconds start = cpu.now;
    Nanoseconds longest_without = 0;
    Nanoseconds since = cpu.now;
    while (cpu.now < start + ns_per_s) {
        cpu.enter();
        const bool is_spent = cpu.flooded_dispatch(1500, 1); // the next event comes just afterwards
        const Nanoseconds left = cpu.quota.time_left(cpu.now);
        cpu.leave();
        if (!is_spent) {
            cpu.gap(1);
            continue;
        }
        longest_without = std::max(longest_without, cpu.now - since);
        cpu.gap(left);
        since = cpu.now;
    }
    EXPECT_GE(cpu.in_threads * 100, (cpu.now - start) * 20);
    EXPECT_LE(longest_without, 10 * ns_per_ms);
}

TEST(GuestQuota, AnHonestLoadIsNeverHeldBack) {
    // Three fifths of the CPU in events, with gaps in which threads do something.
    Cpu cpu;
    for (unsigned i = 0; i < 10'000; ++i) {
        cpu.enter();
        ASSERT_FALSE(cpu.flooded_dispatch(20 * ns_per_us, 1));
        cpu.leave();
        cpu.gap(12 * ns_per_us);
    }
}

TEST(GuestQuota, BeforeItWasMeasuredACrossingIsTakenForLongRatherThanShort) {
    GuestQuota quota;
    Nanoseconds now = hour;
    quota.begin(now);
    unsigned dispatches = 0;
    for (; !quota.is_spent(now); ++dispatches) {
        quota.enter(now);
        now += 20 * ns_per_us;
        quota.leave(now);
        now += 9 * ns_per_us;
        ASSERT_LT(dispatches, 1000u);
    }
    EXPECT_GT(dispatches, 200u);
}

TEST(GuestQuota, IdleTimeIsNotSavedUp) {
    Cpu cpu;
    cpu.enter();
    cpu.leave();
    cpu.gap(hour);
    const Nanoseconds start = cpu.now;
    cpu.enter();
    EXPECT_TRUE(cpu.flooded_dispatch(10 * ns_per_us, 1'000'000));
    EXPECT_LE(cpu.now - start, 8 * ns_per_ms);
    EXPECT_GE(cpu.now - start, 7 * ns_per_ms);
}

TEST(GuestQuota, WhatNobodyWantsCanBeHadAtOnce) {
    Cpu cpu;
    cpu.enter();
    EXPECT_TRUE(cpu.flooded_dispatch(10 * ns_per_us, 1'000'000));
    cpu.quota.restart(cpu.now);
    EXPECT_FALSE(cpu.quota.is_spent(cpu.now));
}

TEST(GuestQuota, DevicesThatTakeAllDelayTheNextWindowForSomeTimeOnly) {
    Cpu cpu;
    cpu.enter();
    EXPECT_TRUE(cpu.flooded_dispatch(10 * ns_per_us, 1'000'000));
    const Nanoseconds spent = cpu.now;
    while (cpu.quota.is_spent(cpu.now)) {
        cpu.leave();
        cpu.gap(0);
        cpu.enter();
        cpu.take(cpu.in_events, 50 * ns_per_us); // of a device: not asked whether it may
        ASSERT_LE(cpu.now - spent, GuestQuota::longest_window);
    }
    EXPECT_GE(cpu.now - spent, 3 * GuestQuota::window);
}

TEST(GuestQuota, TheTimeLeftEndsTheWait) {
    Cpu cpu;
    for (unsigned i = 0; i < 100; ++i) {
        cpu.enter();
        EXPECT_TRUE(cpu.flooded_dispatch(7 * ns_per_us, 1'000'000));
        const Nanoseconds left = cpu.quota.time_left(cpu.now);
        EXPECT_GT(left, 0u);
        EXPECT_LE(left, GuestQuota::window);
        cpu.leave();
        cpu.now += left;
        cpu.enter();
        EXPECT_FALSE(cpu.quota.is_spent(cpu.now)) << "the timer would fire in vain";
        cpu.leave();
    }
}

TEST(GuestQuota, AClockThatStandsStillOrGoesBackHarmsNothing) {
    GuestQuota quota;
    quota.begin(hour);
    quota.enter(hour);
    EXPECT_FALSE(quota.is_spent(hour));
    quota.leave(hour);
    quota.enter(hour); // no gap: tells nothing about what a crossing costs
    quota.leave(hour);
    quota.enter(hour - 5);
    EXPECT_FALSE(quota.is_spent(hour - 5));
    EXPECT_FALSE(quota.is_over(hour - 5));
    EXPECT_LE(quota.time_left(hour - 5), GuestQuota::window);
    quota.leave(hour - 5);
    quota.enter(hour + 10 * ns_per_ms);
    EXPECT_FALSE(quota.is_spent(hour + 10 * ns_per_ms)) << "threads had all of it";
}

} // namespace
