// SPDX-License-Identifier: BSD-2-Clause
// RunCredit: a kernel thread under floods of every pace.
#include "sched/run_credit.hpp"

#include <gtest/gtest.h>

namespace {

using namespace kernel;

/// The thread works `work` and then sleeps `sleep`, before programs while its credit lasts; the
/// share of the time, in percent, for which it ran before programs.
unsigned share_before_programs(Nanoseconds work, Nanoseconds sleep) {
    RunCredit credit;
    Nanoseconds now = ns_per_s;
    const Nanoseconds start = now;
    Nanoseconds before_programs = 0;
    bool sank = false;
    while (now < start + 10 * ns_per_s) {
        if (sank && credit.may_rise(now))
            sank = false;
        credit.started(now);
        Nanoseconds used = 0;
        while (used < work && !(credit.is_spent(used) && !sank)) {
            used += 10 * ns_per_us; // a packet, and a look whether to give way
            if (!sank)
                before_programs += 10 * ns_per_us;
        }
        now += used;
        if (credit.is_spent(used))
            sank = true;
        credit.stopped(now, used);
        now += used < work ? 10 * ns_per_ms : sleep; // sank: a program has its slice
    }
    return static_cast<unsigned>(before_programs * 100 / (now - start));
}

TEST(RunCredit, NoPaceOfAFloodGetsMoreThanHalfBeforePrograms) {
    for (const Nanoseconds work :
         {20 * ns_per_us, ns_per_ms, 9 * ns_per_ms, 11 * ns_per_ms, ns_per_s})
        for (const Nanoseconds sleep : {Nanoseconds{100}, 10 * ns_per_us, ns_per_ms})
            EXPECT_LE(share_before_programs(work, sleep), 52u) << work << ' ' << sleep;
}

TEST(RunCredit, AnHonestLoadNeverSinks) {
    EXPECT_GE(share_before_programs(40 * ns_per_us, 60 * ns_per_us), 39u);
    EXPECT_GE(share_before_programs(4 * ns_per_ms, 5 * ns_per_ms), 43u);
}

TEST(RunCredit, StartsFullAndIsBounded) {
    RunCredit credit;
    EXPECT_FALSE(credit.is_spent(RunCredit::most - 1));
    EXPECT_TRUE(credit.is_spent(RunCredit::most));
    credit.stopped(ns_per_s, 2 * RunCredit::most);
    EXPECT_TRUE(credit.is_spent(0));
    EXPECT_FALSE(credit.may_rise(ns_per_s));
    EXPECT_FALSE(credit.may_rise(ns_per_s - 1)) << "a clock that goes back earns nothing";
    EXPECT_TRUE(credit.may_rise(ns_per_s + RunCredit::most / 2));
    credit.started(3600 * ns_per_s);
    EXPECT_TRUE(credit.is_spent(RunCredit::most));
}

} // namespace
