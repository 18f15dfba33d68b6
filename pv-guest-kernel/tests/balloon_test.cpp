// SPDX-License-Identifier: BSD-2-Clause
// How far the balloon goes: never past its target, its limit or its reserve, and always to an end.
#include "mm/balloon_plan.hpp"

#include <gtest/gtest.h>

#include <random>

namespace {

using namespace kernel;

TEST(BalloonPlan, GivesBackOnlyWhatIsSpare) {
    const BalloonStep plenty = plan_balloon({8000, 12000, 12000, 6000}, 64);
    EXPECT_EQ(plenty.give, 64u);
    EXPECT_EQ(plenty.take, 0u);
    EXPECT_EQ(plan_balloon({11990, 12000, 12000, 6000}, 64).give, 10u);
    EXPECT_EQ(plan_balloon({8000, 12000, 12000, balloon_reserve(12000) + 5}, 64).give, 5u);
    const BalloonStep none = plan_balloon({8000, 12000, 12000, balloon_reserve(12000)}, 64);
    EXPECT_EQ(none.give, 0u);
    EXPECT_FALSE(none.is_done);
}

TEST(BalloonPlan, TakesUpToItsLimit) {
    EXPECT_EQ(plan_balloon({20000, 12000, 16000, 0}, 64).take, 64u);
    EXPECT_EQ(plan_balloon({20000, 15990, 16000, 0}, 64).take, 10u);
    EXPECT_TRUE(plan_balloon({20000, 16000, 16000, 0}, 64).is_done);
    EXPECT_TRUE(plan_balloon({12000, 12000, 16000, 0}, 64).is_done);
    EXPECT_FALSE(plan_balloon({12001, 12000, 16000, 0}, 64).is_done);
}

TEST(BalloonPlan, ReserveIsAShareWithALeast) {
    EXPECT_EQ(balloon_reserve(1000), 512u);
    EXPECT_EQ(balloon_reserve(320000), 10000u);
}

TEST(BalloonPlan, RandomWalksKeepTheInvariantsAndEnd) {
    std::mt19937_64 random{7};
    for (int walk = 0; walk < 2000; ++walk) {
        const std::uint64_t limit = 2000 + random() % 100'000;
        BalloonInput now{random() % (2 * limit), 1000 + random() % (limit - 999), limit, 0};
        now.free = random() % (now.present + 1);
        const std::uint64_t in_use = now.present - now.free;
        std::uint64_t steps = 0;
        for (;; ++steps) {
            const BalloonStep step = plan_balloon(now, 64);
            ASSERT_TRUE(step.give == 0 || step.take == 0);
            if (step.give == 0 && step.take == 0) {
                ASSERT_TRUE(step.is_done || now.free <= balloon_reserve(now.present));
                break;
            }
            now.present = now.present - step.give + step.take;
            now.free = now.free - step.give + step.take;
            ASSERT_EQ(now.present - now.free, in_use) << "a page in use was taken";
            ASSERT_LE(now.present, limit);
            ASSERT_LE(steps, limit) << "no end";
        }
    }
}

} // namespace
