// SPDX-License-Identifier: BSD-2-Clause
// TimerQueue: order, and timers that arm or cancel timers.
#include "host_events.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace {

using kernel::Nanoseconds;
using kernel::Timer;

struct Alarm {
    std::function<void()> work;
    Timer timer{[](void* self) { static_cast<Alarm*>(self)->work(); }, this};
};

TEST(TimerQueue, RunsWhatIsDueInOrder) {
    Alarm alarms[4];
    std::vector<int> ran;
    const int order[] = {2, 0, 3, 1};
    for (int i = 0; i < 4; ++i) {
        alarms[i].work = [&ran, i] { ran.push_back(i); };
        alarms[i].timer.arm(host::now + static_cast<Nanoseconds>(10 * (order[i] + 1)));
    }
    host::now += 30;
    host::run_timers();
    EXPECT_EQ(ran, (std::vector<int>{1, 3, 0}));
    EXPECT_EQ(host::next_timer(), host::now + 10);
    alarms[2].timer.cancel();
    EXPECT_EQ(host::next_timer(), ~Nanoseconds{0});
}

TEST(TimerQueue, TimersThatArmThemselvesAgainAndAgainEndAtEachCall) {
    Alarm alarms[2];
    unsigned ran = 0;
    for (Alarm& alarm : alarms) {
        alarm.work = [&] {
            ASSERT_LT(++ran, 1000u) << "for ever";
            host::now += 100; // its work takes longer than its pause
            alarm.timer.arm(host::now - 50);
        };
        alarm.timer.arm(host::now);
    }
    host::run_timers();
    EXPECT_EQ(ran, 2u);
    host::run_timers();
    EXPECT_EQ(ran, 4u);
}

TEST(TimerQueue, ATimerThatIsDueMayBeCancelledOrMovedByAnEarlierOne) {
    Alarm alarms[3];
    unsigned ran = 0;
    alarms[0].work = [&] {
        alarms[1].timer.cancel();
        alarms[2].timer.arm(host::now + 100);
    };
    alarms[1].work = alarms[2].work = [&] { ++ran; };
    for (Alarm& alarm : alarms)
        alarm.timer.arm(host::now);
    host::run_timers();
    EXPECT_EQ(ran, 0u);
    EXPECT_FALSE(alarms[1].timer.armed());
    host::now += 100;
    host::run_timers();
    EXPECT_EQ(ran, 1u);
}

} // namespace
