// SPDX-License-Identifier: BSD-2-Clause
// Measuring one counter against another while the machine stands still at any one point.
#include <arch/x86_64/time/reference.hpp>

#include <gtest/gtest.h>

using namespace cero::arch::reference_clock;

namespace {

constexpr std::uint64_t read_cost = 300, window = 2'000'000, stall = 7'000'000; // ns

/// Time that each reading advances; reading number `stall_before` comes 7 ms late.
struct Machine {
    std::uint64_t now{};
    unsigned reads{};
    unsigned stall_before{};

    std::uint64_t tsc() { return tick(), now * 3; }                                  // 3 GHz
    std::uint32_t counter() { return tick(), static_cast<std::uint32_t>(now / 10); } // 100 MHz

private:
    void tick() {
        if (++reads == stall_before)
            now += stall;
        now += read_cost;
    }
};

TEST(ClockSample, APauseAnywhereLeavesTheRateRight) {
    for (unsigned at = 1; at <= 32; ++at) {
        Machine machine{.stall_before = at};
        const auto tsc = [&] { return machine.tsc(); };
        const auto counter = [&] { return machine.counter(); };
        const Sample begin = sample(tsc, counter);
        machine.now += window;
        const Sample end = sample(tsc, counter);
        const double rate = static_cast<double>(end.tsc - begin.tsc) / (end.count - begin.count);
        EXPECT_NEAR(rate, 30.0, 0.02) << "pause before reading " << at;
    }
}

TEST(ClockSample, TheCounterMayWrapAround) {
    Machine machine;
    machine.now = 0xffff0000ull * 10;
    const auto tsc = [&] { return machine.tsc(); };
    const auto counter = [&] { return machine.counter(); };
    const Sample begin = sample(tsc, counter);
    machine.now += window;
    const Sample end = sample(tsc, counter);
    EXPECT_LT(end.count, begin.count);
    EXPECT_NEAR(end.count - begin.count, window / 10, 1000);
}

} // namespace
