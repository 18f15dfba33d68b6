// SPDX-License-Identifier: BSD-2-Clause
// FrontRing and BackRing against each other: order, wrap-around of indexes, notifications, hostile
// indexes.
#include "ring/ring.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

using namespace drivers;

namespace {

struct Request {
    std::uint64_t id;
    std::uint32_t payload[3];
};
struct Response {
    std::uint64_t id;
    std::int32_t status;
};

class Ring : public testing::Test {
protected:
    alignas(4096) std::byte page[4096]{};
    FrontRing<Request, Response> front;
    BackRing<Request, Response> back;
    RingHeader& header() { return *reinterpret_cast<RingHeader*>(page); }
    void SetUp() override {
        front.initialise(page, sizeof page);
        back.attach(page, sizeof page);
    }
};

TEST_F(Ring, SizeIsAPowerOfTwoThatFits) {
    EXPECT_EQ(front.size(), 128u);
    EXPECT_EQ(ring_detail::slot_count(4096, 112), 32u);
    EXPECT_EQ(ring_detail::slot_count(8192, 112), 64u);
    EXPECT_EQ(ring_detail::slot_count(4096, 12), 256u);
    EXPECT_EQ(ring_detail::slot_count(4096, 8), 256u);
}

TEST_F(Ring, FirstRequestNotifiesTheNextDoesNotUntilArmed) {
    front.put(Request{1, {}});
    EXPECT_TRUE(front.push());
    front.put(Request{2, {}});
    EXPECT_FALSE(front.push());
    ASSERT_EQ(back.pending(), 2u);
    Request request;
    back.take(request);
    EXPECT_EQ(request.id, 1u);
    EXPECT_TRUE(back.arm());
    back.take(request);
    EXPECT_FALSE(back.arm());
    front.put(Request{3, {}});
    EXPECT_TRUE(front.push());
}

TEST_F(Ring, ManyRoundsWithWrappingIndexesKeepOrderAndCount) {
    // Start close to the wrap of the 32-bit indexes.
    std::mt19937 random{7};
    std::uint64_t sent = 0, served = 0, answered = 0;
    for (int round = 0; round < 20000; ++round) {
        switch (random() % 4) {
        case 0:
            for (unsigned n = random() % 8; n != 0 && front.free_slots() != 0; --n)
                front.put(Request{sent++, {}});
            static_cast<void>(front.push());
            break;
        case 1:
            for (unsigned n = random() % 8; n != 0 && back.pending() != 0; --n) {
                Request request;
                back.take(request);
                ASSERT_EQ(request.id, served++);
                back.put(Response{request.id, 0});
            }
            static_cast<void>(back.push());
            break;
        case 2: {
            Response response;
            while (front.take(response))
                ASSERT_EQ(response.id, answered++);
            break;
        }
        default:
            static_cast<void>(front.arm());
            static_cast<void>(back.arm());
        }
        ASSERT_FALSE(front.is_broken());
        ASSERT_FALSE(back.is_broken());
    }
    EXPECT_GT(answered, 1000u);
}

TEST_F(Ring, BackRejectsMoreRequestsThanSlots) {
    header().req_prod = 129;
    EXPECT_EQ(back.pending(), 0u);
    EXPECT_TRUE(back.is_broken());
}

TEST_F(Ring, BackRejectsAProducerThatGoesBackwards) {
    front.put(Request{1, {}});
    static_cast<void>(front.push());
    Request request;
    ASSERT_EQ(back.pending(), 1u);
    back.take(request);
    header().req_prod = 0;
    EXPECT_EQ(back.pending(), 0u);
    EXPECT_TRUE(back.is_broken());
}

TEST_F(Ring, UnansweredRequestsCountAgainstTheRing) {
    for (unsigned i = 0; i < 128; ++i)
        front.put(Request{i, {}});
    static_cast<void>(front.push());
    Request request;
    for (unsigned i = 0; i < 128; ++i) {
        ASSERT_NE(back.pending(), 0u);
        back.take(request);
    }
    header().req_prod = 129; // nothing was answered: there is no slot for it
    EXPECT_EQ(back.pending(), 0u);
    EXPECT_TRUE(back.is_broken());
}

TEST_F(Ring, FrontRejectsResponsesToNothing) {
    header().rsp_prod = 1;
    Response response;
    EXPECT_FALSE(front.take(response));
    EXPECT_TRUE(front.is_broken());
}

TEST(RingNotify, FollowsTheRule) {
    EXPECT_TRUE(ring_detail::wants_notification(1, 0, 1));
    EXPECT_FALSE(ring_detail::wants_notification(2, 0, 1));
    EXPECT_TRUE(ring_detail::wants_notification(0, ~0u, 1));
    EXPECT_FALSE(ring_detail::wants_notification(~0u, ~0u, 1));
}

} // namespace
