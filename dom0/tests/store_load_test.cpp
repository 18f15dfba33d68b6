// SPDX-License-Identifier: BSD-2-Clause
// XenStore under guests that make it work as hard as they can: dom0's kernel stays served, and each
// guest's turn is short.
#include "store/ring.hpp"
#include "store_client.hpp"

namespace cero::store {
namespace {

const std::string home = "/local/domain/5";

struct LoadTest : CoreTest {
    Client kernel{core, 0, true};
    Client guest{core, 5};
    LoadTest() {
        EXPECT_EQ(control.ask(Op::write, home + "/device/state\0001"s), ok);
        EXPECT_EQ(control.ask(Op::set_perms, home + "/device\0n5\0"s), ok);
        EXPECT_EQ(control.ask(Op::set_perms, home + "/device/state\0n5\0"s), ok);
        EXPECT_EQ(kernel.ask(Op::watch, home + "/device/state\0t\0"s), ok);
        (void)kernel.event();
    }
    std::uint32_t begin() {
        return static_cast<std::uint32_t>(std::stoul(guest.ask(Op::transaction_start, "\0"s)));
    }
    /// A transaction that makes and removes as many names below the state as it may.
    std::uint32_t open_with_new_names() {
        static unsigned name = 0;
        const std::uint32_t id = begin();
        for (std::size_t step = 0; step < Transaction::operations_max; step += 2) {
            const std::string node = "device/state/" + std::to_string(++name) + "\0"s;
            EXPECT_EQ(guest.ask(Op::write, node, id), ok);
            EXPECT_EQ(guest.ask(Op::rm, node, id), ok);
        }
        return id;
    }
};

TEST_F(LoadTest, EventsForDom0sKernelHoldGuestsBackAndNeverEndIt) {
    std::vector<std::uint32_t> open;
    for (unsigned i = 0; i < Limits{}.transactions; ++i)
        open.push_back(open_with_new_names());
    for (int cycle = 0; cycle < 4; ++cycle) { // more than a queue of dom0's programs takes
        for (const std::uint32_t id : open)
            guest.send(Op::transaction_end, "T\0"s, id);
        EXPECT_LT(kernel.connection.queued_events(),
                  Limits{}.kernel_events + Transaction::operations_max);
        EXPECT_TRUE(core.is_congested(guest.connection));
        // The kernel's own requests and programs' are served meanwhile.
        kernel.send(Op::read, home + "/device/state\0"s);
        EXPECT_EQ(kernel.connection.queued_replies(), 1u);
        EXPECT_EQ(control.ask(Op::read, home + "/device/state\0"s), "1");
        while (kernel.connection.has_output())
            (void)kernel.receive();
        EXPECT_FALSE(core.is_congested(guest.connection));
        for (unsigned turn = 0; turn < Limits{}.transactions; ++turn) {
            core.serve(guest.connection);
            while (kernel.connection.has_output())
                (void)kernel.receive();
        }
        while (const auto reply = guest.receive())
            EXPECT_EQ(reply->type, std::to_underlying(Op::transaction_end));
        for (std::uint32_t& id : open)
            id = open_with_new_names();
    }
    EXPECT_FALSE(kernel.connection.is_doomed());
    EXPECT_EQ(kernel.connection.dropped_events(), 0u);
}

TEST_F(LoadTest, TheKernelHearsOfEachPathOncePerCommitAndWhileItWaits) {
    const std::uint32_t id = begin();
    for (std::size_t step = 0; step < Transaction::operations_max; ++step)
        ASSERT_EQ(guest.ask(Op::write, "device/state/a\0"s + std::to_string(step), id), ok);
    std::size_t changes = 0;
    core.on_change = [&](const std::vector<Change>& all) { changes += all.size(); };
    ASSERT_EQ(guest.ask(Op::transaction_end, "T\0"s, id), ok);
    EXPECT_EQ(changes, 1u);
    for (int i = 0; i < 3000; ++i)
        ASSERT_EQ(guest.ask(Op::write, "device/state/a\0x"s), ok);
    EXPECT_EQ(kernel.event(), home + "/device/state/a\0t\0"s);
    EXPECT_EQ(kernel.event(), "(nothing)");
    ASSERT_EQ(guest.ask(Op::write, "device/state/a\0y"s), ok); // it was read: once more
    EXPECT_EQ(kernel.event(), home + "/device/state/a\0t\0"s);
}

TEST_F(LoadTest, ACommitEndsAGuestsTurn) {
    std::string ends;
    for (std::uint32_t i = 0; i < 3; ++i)
        encode_to(ends, Op::transaction_end, i, begin(), "T\0"s);
    guest.connection.decoder.feed(ends);
    for (std::size_t turn = 1; turn <= 3; ++turn) {
        EXPECT_TRUE(core.serve(guest.connection));
        EXPECT_EQ(guest.connection.queued_replies(), turn);
    }
    EXPECT_FALSE(core.serve(guest.connection));
}

TEST_F(LoadTest, ACommitEndsTheTurnOfARing) {
    cero_xenstore_page page{};
    RingTransport ring{&page, guest.connection};
    std::string ends;
    for (std::uint32_t i = 0; i < 3; ++i)
        encode_to(ends, Op::transaction_end, i, begin(), "T\0"s);
    ends.copy(page.req, ends.size());
    page.req_prod = static_cast<std::uint32_t>(ends.size());
    for (std::size_t turn = 1; turn <= 3; ++turn) {
        EXPECT_TRUE(ring.take_requests(core));
        EXPECT_EQ(guest.connection.queued_replies(), turn);
    }
    EXPECT_FALSE(ring.take_requests(core));
}

TEST_F(LoadTest, LongTokensOfAGuestThatDoesNotReadTakeBoundedMemory) {
    EXPECT_EQ(guest.ask(Op::write, "data\0"s), ok);
    for (std::size_t i = 0; i < Limits{}.watches; ++i) {
        const std::string number = std::to_string(1000 + i);
        ASSERT_EQ(guest.ask(Op::watch, "data\0"s + std::string(4070, 't') + number + "\0"s), ok);
        (void)guest.event();
    }
    std::vector<std::uint32_t> open;
    for (unsigned i = 0; i < Limits{}.transactions; ++i) {
        open.push_back(begin());
        for (std::size_t step = 0; step < Transaction::operations_max; ++step)
            ASSERT_EQ(guest.ask(Op::write, "data/" + std::to_string(i) + "\0"s, open.back()), ok);
    }
    (void)core.take_work();
    for (const std::uint32_t id : open)
        guest.send(Op::transaction_end, "T\0"s, id);
    EXPECT_LE(core.take_work(), open.size() * (Limits{}.watches + 1));
    EXPECT_LE(guest.connection.all_output().size(), Limits{}.queued_event_bytes + (4 << 10));
    EXPECT_GT(guest.connection.dropped_events(), 0u);
}

TEST_F(LoadTest, AWatchThatIsSetAgainFiresAfterItsReply) {
    EXPECT_EQ(guest.ask(Op::watch, "w\0t\0"s), ok); // its first event stays unread
    guest.send(Op::unwatch, "w\0t\0"s);
    guest.send(Op::watch, "w\0t\0"s);
    std::vector<std::uint32_t> types;
    while (const auto message = guest.receive())
        types.push_back(message->type);
    EXPECT_EQ(types, (std::vector<std::uint32_t>{15, 5, 4, 15}));
}

} // namespace
} // namespace cero::store
