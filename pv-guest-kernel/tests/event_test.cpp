// SPDX-License-Identifier: BSD-2-Clause
// The dispatcher: each port its turn, raised ports, ports of guests that wait for their quota.
#include "host_events.hpp"

#include "event/guest_quota.hpp"
#include "event/upcall.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <vector>

namespace {

using namespace kernel;
using event::Port;

constexpr Nanoseconds handler_time = 10 * ns_per_us;
constexpr Nanoseconds crossing = 2 * ns_per_us;

class Events : public testing::Test {
protected:
    std::map<Port, std::function<void()>> work; ///< what a port's handler does besides taking time
    std::map<Port, unsigned> calls;
    std::vector<Port> order;

    Events() {
        init_events();
        host::thread_wants_cpu = false;
        host::now += ns_per_s; // a new window, whatever the test before did
    }
    ~Events() override {
        work.clear();
        for (const auto& [port, times] : calls)
            event::close(port);
        EXPECT_EQ(host::next_timer(), ~Nanoseconds{0}) << "a timer is left";
    }
    static void handle(Port port, void* context) {
        auto& self = *static_cast<Events*>(context);
        host::now += handler_time;
        ++self.calls[port];
        self.order.push_back(port);
        if (const auto at = self.work.find(port); at != self.work.end())
            at->second();
    }
    void bind(Port port) {
        calls[port] = 0;
        event::set_handler(port, handle, this);
    }
    void bind_guest(Port port) {
        calls[port] = 0;
        event::set_guest_handler(port, handle, this);
    }
    /// A guest that sends again before each handler returns.
    void flood(Port port) {
        work[port] = [port] { host::send(port); };
        host::send(port);
    }
    void stop_flood(Port port) { work.erase(port); }
    /// User mode for a time, with upcalls and timers as they come; how long it really ran.
    static Nanoseconds run_user(Nanoseconds limit, const std::function<void()>& meanwhile = {}) {
        Nanoseconds ran = 0;
        const Nanoseconds end = host::now + limit;
        while (host::now < end) {
            if (meanwhile)
                meanwhile();
            host::upcall(crossing);
            const Nanoseconds step =
                host::next_timer() > host::now ? std::min(Nanoseconds{100}, end - host::now) : 0;
            host::now += step;
            ran += step;
            if (host::next_timer() <= host::now)
                host::send(timer_port);
        }
        return ran;
    }
    static constexpr Port timer_port = 1;
    void bind_timer() {
        calls[timer_port] = 0;
        event::set_handler(
            timer_port, [](Port, void*) { host::run_timers(); }, nullptr);
    }
};

TEST_F(Events, EachPendingPortHasItsTurnBeforeOneHasAnother) {
    for (const Port port : {3u, 5u, 70u, 4095u})
        bind(port);
    unsigned left = 3;
    work[3] = [&] {
        if (left != 0) {
            --left;
            host::send(3);
        }
    };
    for (const Port port : {4095u, 3u, 70u, 5u})
        host::send(port);
    host::upcall(crossing);
    EXPECT_EQ(order, (std::vector<Port>{3, 5, 70, 4095, 3, 3, 3}));
}

TEST_F(Events, APortThatAnEarlierHandlerMaskedOrClosedIsNotServed) {
    for (const Port port : {3u, 5u, 6u})
        bind(port);
    work[3] = [] {
        event::mask(5);
        event::close(6);
    };
    for (const Port port : {3u, 5u, 6u})
        host::send(port);
    host::upcall(crossing);
    EXPECT_EQ(order, std::vector<Port>{3});
    event::unmask(5);
    EXPECT_EQ(order, (std::vector<Port>{3, 5}));
}

TEST_F(Events, RaiseRunsTheHandlerInsideAndOutsideOfADispatch) {
    bind(3);
    bind(5);
    event::raise(3);
    EXPECT_EQ(calls[3], 1u);
    unsigned left = 1;
    work[3] = [&] {
        if (left != 0) {
            --left;
            event::raise(3);
        }
    };
    host::send(3);
    host::send(5);
    host::upcall(crossing);
    EXPECT_EQ(order, (std::vector<Port>{3, 3, 5, 3})) << "after the others of the pass";
    event::mask(3);
    event::raise(3);
    EXPECT_EQ(calls[3], 3u);
    event::unmask(3);
    EXPECT_EQ(calls[3], 4u);
}

TEST_F(Events, AFloodLeavesThreadsAQuarter) {
    bind_timer();
    bind_guest(7);
    bind_guest(8);
    host::thread_wants_cpu = true;
    flood(7);
    flood(8);
    const Nanoseconds ran = run_user(ns_per_s);
    EXPECT_GE(ran * 100, ns_per_s * 20);
    EXPECT_GT(calls[7], 20'000u) << "and the guests have theirs";
    EXPECT_NEAR(calls[7], calls[8], 200);
    stop_flood(7);
    stop_flood(8);
    run_user(50 * ns_per_ms);
}

TEST_F(Events, EventsBeforeEachInstructionLeaveThreadsAQuarter) {
    bind_timer();
    bind_guest(7);
    host::thread_wants_cpu = true;
    Nanoseconds ran = 0;
    const Nanoseconds start = host::now;
    while (host::now < start + ns_per_s) {
        host::send(7); // while the way back to user mode is gone
        host::upcall(crossing);
        ran += 10;
        host::now += 10;
        if (host::next_timer() <= host::now)
            host::send(timer_port);
    }
    EXPECT_GE(ran * 100, ns_per_s * 20);
    run_user(50 * ns_per_ms);
}

TEST_F(Events, OtherPortsAreServedWhileGuestsWait) {
    bind_timer();
    bind_guest(7);
    bind(9);
    host::thread_wants_cpu = true;
    flood(7);
    host::upcall(crossing);
    const unsigned before = calls[7];
    host::send(9);
    host::upcall(crossing);
    EXPECT_EQ(calls[9], 1u);
    EXPECT_EQ(calls[7], before);
    stop_flood(7);
    run_user(50 * ns_per_ms);
    EXPECT_EQ(calls[7], before + 1) << "the event that waited is not lost";
}

TEST_F(Events, WithoutThreadsAFloodLosesNothing) {
    bind_guest(7);
    unsigned left = 10'000;
    work[7] = [&] {
        if (left != 0) {
            --left;
            host::send(7);
        }
    };
    host::send(7);
    host::upcall(crossing);
    EXPECT_EQ(calls[7], 10'001u) << "all in one dispatch";
}

TEST_F(Events, WhenThreadsSleepTheWaitIsOver) {
    bind_guest(7);
    host::thread_wants_cpu = true;
    unsigned left = 3000;
    work[7] = [&] {
        if (left != 0) {
            --left;
            host::send(7);
        }
    };
    host::send(7);
    host::upcall(crossing);
    EXPECT_LT(calls[7], 1000u);
    host::thread_wants_cpu = false;
    EXPECT_TRUE(release_deferred_events());
    host::upcall(crossing);
    EXPECT_EQ(calls[7], 3001u);
    EXPECT_FALSE(release_deferred_events());
}

TEST_F(Events, TheEndOfTheWindowUndoesNoMaskOfTheOwner) {
    bind_timer();
    for (const Port port : {7u, 8u, 9u})
        bind_guest(port);
    host::thread_wants_cpu = true;
    for (const Port port : {7u, 8u, 9u})
        flood(port);
    host::upcall(crossing);
    for (const Port port : {7u, 8u, 9u})
        stop_flood(port);
    auto before = calls;
    event::mask(7);
    event::close(8);
    bind(8); // the number is used again; what the old one had pending is gone
    event::mask(8);
    event::set_handler_masked(9, handle, this);
    run_user(50 * ns_per_ms);
    EXPECT_EQ(calls[7], before[7]);
    EXPECT_EQ(calls[8], 0u);
    EXPECT_EQ(calls[9], before[9]);
    event::unmask(7);
    EXPECT_EQ(calls[7], before[7] + 1);
}

TEST_F(Events, TimeThatTheHypervisorTookIsNobodys) {
    bind_timer();
    bind_guest(7);
    host::thread_wants_cpu = true;
    // The CPU goes away in each handler, for longer than a window.
    work[7] = [] {
        host::now += 30 * ns_per_ms;
        host::stolen += 30 * ns_per_ms;
        host::send(7);
    };
    host::send(7);
    host::upcall(crossing);
    EXPECT_GT(calls[7], 500u) << "it had little of the CPU itself";
    work.erase(7);
    run_user(50 * ns_per_ms);
}

TEST_F(Events, TheClockIsReadForGuestsOnly) {
    bind(3);
    host::send(3);
    host::upcall(crossing);
    flood(3);
    host::thread_wants_cpu = true;
    unsigned left = 5000;
    work[3] = [&] {
        if (left != 0) {
            --left;
            host::send(3);
        }
    };
    host::upcall(crossing);
    EXPECT_EQ(calls[3], 5002u) << "no quota for devices";
}

} // namespace
