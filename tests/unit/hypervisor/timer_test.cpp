// SPDX-License-Identifier: BSD-2-Clause
// The timer queue against a sorted list, with random arming and stopping.
#include <core/time/timer.hpp>

#include "../../support/host_arch/host_arch.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>

namespace cero {
namespace {

struct Probe {
    Timer timer;
    unsigned fired{};
    std::uint64_t fired_at{};
};

void on_fire(Timer& timer) {
    auto& probe = *static_cast<Probe*>(timer.owner);
    ++probe.fired;
    probe.fired_at = host::state().now;
}

class Timers : public testing::Test {
protected:
    void SetUp() override {
        host::boot();
        host::use_cpus(2);
    }
    void TearDown() override { host::use_cpus(1); }
};

TEST_F(Timers, FiresInOrderNotBeforeItsTime) {
    Probe early{}, late{};
    early.timer.bind(&on_fire, &early);
    late.timer.bind(&on_fire, &late);
    const std::uint64_t now = host::state().now;
    set_timer(late.timer, Nanoseconds{now + 2000});
    EXPECT_EQ(host::state().deadline[0], now + 2000);
    set_timer(early.timer, Nanoseconds{now + 1000});
    EXPECT_EQ(host::state().deadline[0], now + 1000);
    run_due_timers();
    EXPECT_EQ(early.fired, 0u);
    host::state().now = now + 1000;
    run_due_timers();
    EXPECT_EQ(early.fired, 1u);
    EXPECT_EQ(late.fired, 0u);
    EXPECT_EQ(host::state().deadline[0], now + 2000);
    stop_timer(late.timer);
    host::state().now = now + 5000;
    run_due_timers();
    EXPECT_EQ(late.fired, 0u);
    EXPECT_EQ(host::state().deadline[0], 0u);
}

TEST_F(Timers, DeadlineZeroIsInThePastAndDoesNotSwitchTheHardwareOff) {
    Probe zero{}, late{};
    zero.timer.bind(&on_fire, &zero);
    late.timer.bind(&on_fire, &late);
    const std::uint64_t now = host::state().now;
    set_timer(late.timer, Nanoseconds{now + 1000});
    set_timer(zero.timer, Nanoseconds{0});
    EXPECT_NE(host::state().deadline[0], 0u);
    EXPECT_LE(host::state().deadline[0], now);
    run_due_timers();
    EXPECT_EQ(zero.fired, 1u);
    EXPECT_EQ(host::state().deadline[0], now + 1000);
    stop_timer(late.timer);
    run_due_timers();
}

TEST_F(Timers, MovesToTheCpuThatArmsIt) {
    Probe probe{};
    probe.timer.bind(&on_fire, &probe);
    const std::uint64_t now = host::state().now;
    set_timer(probe.timer, Nanoseconds{now + 10});
    host::become(1);
    set_timer(probe.timer, Nanoseconds{now + 20});
    EXPECT_EQ(probe.timer.cpu(), CpuId{1});
    host::state().now = now + 30;
    host::become(0);
    run_due_timers();
    EXPECT_EQ(probe.fired, 0u);
    host::become(1);
    run_due_timers();
    EXPECT_EQ(probe.fired, 1u);
    host::become(0);
}

TEST_F(Timers, AgreesWithASortedList) {
    std::mt19937_64 random{42};
    constexpr unsigned count = 64;
    std::unique_ptr<Probe[]> probes{new Probe[count]};
    std::vector<std::uint64_t> due(count, 0); // 0 = not armed
    for (unsigned n = 0; n < count; ++n)
        probes[n].timer.bind(&on_fire, &probes[n]);
    for (unsigned round = 0; round < 20000; ++round) {
        const unsigned n = random() % count;
        const std::uint64_t now = host::state().now;
        switch (random() % 4) {
        case 0:
        case 1:
            due[n] = now + 1 + random() % 5000;
            set_timer(probes[n].timer, Nanoseconds{due[n]});
            break;
        case 2:
            due[n] = 0;
            stop_timer(probes[n].timer);
            break;
        default:
            host::state().now = now + random() % 500;
            std::vector<unsigned> before(count);
            for (unsigned m = 0; m < count; ++m)
                before[m] = probes[m].fired;
            run_due_timers();
            std::uint64_t next = 0;
            for (unsigned m = 0; m < count; ++m) {
                const bool expired = due[m] != 0 && due[m] <= host::state().now;
                ASSERT_EQ(probes[m].fired - before[m], expired ? 1u : 0u);
                if (expired)
                    due[m] = 0;
                if (due[m] != 0 && (next == 0 || due[m] < next))
                    next = due[m];
            }
            ASSERT_EQ(host::state().deadline[0], next);
        }
        ASSERT_EQ(probes[n].timer.is_armed(), due[n] != 0);
    }
    for (unsigned n = 0; n < count; ++n)
        stop_timer(probes[n].timer);
    run_due_timers();
}

} // namespace
} // namespace cero
