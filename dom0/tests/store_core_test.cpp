// SPDX-License-Identifier: BSD-2-Clause
// XenStore's requests as clients see them: replies, order of events, quotas, rings.
#include "store/ring.hpp"
#include "store_client.hpp"

#include <cstring>
#include <random>

namespace cero::store {
namespace {

/// Serves a ring as the server does, without a journal, until there is nothing to do. Returns
/// whether the other side must be notified.
bool pump(RingTransport& ring, Core& core) {
    constexpr int rounds_max = 16;
    bool notify = false;
    bool progress = true;
    for (int round = 0; progress && !ring.is_broken() && round < rounds_max; ++round) {
        progress = ring.take_requests(core);
        progress = ring.publish() || progress;
        notify = notify || progress;
    }
    return notify;
}

TEST_F(CoreTest, ReadWriteDirectory) {
    Client guest{core, 5};
    EXPECT_EQ(guest.ask(Op::write, "data/x\0binary\0too"s), ok);
    EXPECT_EQ(guest.ask(Op::read, "data/x\0"s), "binary\0too"s);
    EXPECT_EQ(guest.ask(Op::read, "/local/domain/5/data/x\0"s), "binary\0too"s);
    EXPECT_EQ(guest.ask(Op::mkdir, "data/w\0"s), ok);
    EXPECT_EQ(guest.ask(Op::directory, "data\0"s), "w\0x\0"s);
    EXPECT_EQ(guest.ask(Op::directory, "data/x\0"s), "");
    EXPECT_EQ(guest.ask(Op::read, "none\0"s), "!ENOENT");
    EXPECT_EQ(guest.ask(Op::read, "none"s), "!EINVAL");
    EXPECT_EQ(guest.ask(Op::read, "bad//path\0"s), "!EINVAL");
    EXPECT_EQ(guest.ask(Op::write, "/local/domain/6/x\0v"s), "!EACCES");
    EXPECT_EQ(guest.ask(Op::get_perms, "data/x\0"s), "n5\0"s);
    EXPECT_EQ(guest.ask(Op::rm, "data\0"s), ok);
    EXPECT_EQ(guest.ask(Op::read, "data/x\0"s), "!ENOENT");
    EXPECT_EQ(guest.ask(static_cast<Op>(99), ""s), "!ENOSYS");
    EXPECT_EQ(guest.ask(Op::get_domain_path, "7\0"s), "/local/domain/7\0"s);
}

TEST_F(CoreTest, WatchFiresAtOnceAndAfterTheReply) {
    Client guest{core, 5};
    EXPECT_EQ(guest.ask(Op::watch, "device\0token\0"s), ok);
    EXPECT_EQ(guest.event(),
              "device\0token\0"s); // relative as it was given, though nothing is there
    EXPECT_EQ(guest.ask(Op::watch, "device\0token\0"s), "!EEXIST");
    EXPECT_EQ(guest.ask(Op::write, "device/vbd/0\0v"s), ok); // the reply precedes the event
    EXPECT_EQ(guest.event(), "device/vbd/0\0token\0"s);
    EXPECT_EQ(control.ask(Op::rm, "/local/domain/5\0"s), ok);
    EXPECT_EQ(guest.event(), "device\0token\0"s); // it was below what went away
    EXPECT_EQ(guest.event(), "(nothing)");
    EXPECT_EQ(guest.ask(Op::unwatch, "device\0other\0"s), "!ENOENT");
    EXPECT_EQ(guest.ask(Op::unwatch, "device\0token\0"s), ok);
}

TEST_F(CoreTest, WatchDepthAndRights) {
    EXPECT_EQ(control.ask(Op::watch, "/local\0t\0002\0"s), ok);
    EXPECT_EQ(control.event(), "/local\0t\0"s);
    EXPECT_EQ(control.ask(Op::write, "/local/domain/5/deep\0v"s), ok);
    EXPECT_EQ(control.event(), "(nothing)");
    EXPECT_EQ(control.ask(Op::write, "/local/domain/9\0v"s), ok);
    EXPECT_EQ(control.event(), "/local/domain/9\0t\0"s);
    Client other{core, 6};
    EXPECT_EQ(other.ask(Op::watch, "/local\0t\0"s), ok);
    EXPECT_EQ(other.event(), "/local\0t\0"s);
    EXPECT_EQ(control.ask(Op::write, "/local/domain/5/secret\0v"s), ok);
    EXPECT_EQ(other.event(), "(nothing)");
}

TEST_F(CoreTest, TransactionsIsolateAndReportAtCommit) {
    EXPECT_EQ(control.ask(Op::watch, "/t\0w\0"s), ok);
    (void)control.event();
    Client other{core, 0};
    const std::string id = other.ask(Op::transaction_start, "\0"s);
    const auto number = static_cast<std::uint32_t>(std::stoul(id));
    EXPECT_EQ(other.ask(Op::write, "/t/a\0v"s, number), ok);
    EXPECT_EQ(control.ask(Op::read, "/t/a\0"s), "!ENOENT");
    EXPECT_EQ(control.event(), "(nothing)");
    EXPECT_EQ(other.ask(Op::transaction_end, "T\0"s, number), ok);
    EXPECT_EQ(control.event(), "/t/a\0w\0"s);
    EXPECT_EQ(other.ask(Op::read, "/t/a\0"s, number), "!ENOENT"); // the transaction is gone
    const auto second =
        static_cast<std::uint32_t>(std::stoul(other.ask(Op::transaction_start, "\0"s)));
    EXPECT_EQ(other.ask(Op::read, "/t/a\0"s, second), "v");
    EXPECT_EQ(control.ask(Op::write, "/t/a\0new"s), ok);
    (void)control.event();
    EXPECT_EQ(other.ask(Op::transaction_end, "T\0"s, second), "!EAGAIN");
}

TEST_F(CoreTest, QuotasBoundAGuest) {
    Client guest{core, 5};
    for (int i = 0; i < 128; ++i) {
        ASSERT_EQ(guest.ask(Op::watch, "w\0"s + std::to_string(i) + "\0"s), ok);
        (void)guest.event();
    }
    EXPECT_EQ(guest.ask(Op::watch, "w\0more\0"s), "!E2BIG");
    EXPECT_EQ(guest.ask(Op::reset_watches, "\0"s), ok);
    for (int i = 0; i < 10; ++i)
        ASSERT_NE(guest.ask(Op::transaction_start, "\0"s).front(), '!');
    EXPECT_EQ(guest.ask(Op::transaction_start, "\0"s), "!ENOSPC");
    EXPECT_EQ(guest.ask(Op::reset_watches, "\0"s), ok);
    std::string last;
    for (int i = 0; i < 1100; ++i)
        last = guest.ask(Op::write, "n" + std::to_string(i) + "\0v"s);
    EXPECT_EQ(last, "!ENOSPC");
    EXPECT_TRUE(guest.connection.has_hit_quota);
    EXPECT_EQ(control.ask(Op::control, "usage\0"s), "5 1000 0 0\n\0"s);
    EXPECT_EQ(core.tree().nodes_of(5), 1000u);
    EXPECT_EQ(control.ask(Op::control, "check\0"s), "consistent\n\0"s);
    EXPECT_EQ(control.ask(Op::rm, "/local/domain/5\0"s), ok);
    EXPECT_EQ(core.tree().nodes_of(5), 0u);
}

TEST_F(CoreTest, ASlowReaderIsNotServedAndLosesOnlyRepeatedEvents) {
    Client guest{core, 5};
    (void)guest.ask(Op::watch, "w\0t\0"s);
    (void)guest.event();
    for (int i = 0; i < 100; ++i)
        guest.send(Op::read, "none\0"s);
    EXPECT_EQ(guest.connection.queued_replies(), Limits{}.outstanding);
    for (int i = 0; i < 5000; ++i)
        (void)control.ask(Op::write, "/local/domain/5/w\0v"s);
    EXPECT_LE(guest.connection.queued_messages(), Limits{}.outstanding + 2);
    for (int i = 0; i < 5000; ++i)
        (void)control.ask(Op::write, "/local/domain/5/w/" + std::to_string(i) + "\0v"s);
    EXPECT_LE(guest.connection.queued_messages(), Limits{}.outstanding + Limits{}.queued_events);
    EXPECT_GT(guest.connection.dropped_events(), 0u);
}

TEST_F(CoreTest, DomainsComeAndGo) {
    EXPECT_EQ(control.ask(Op::watch, "@introduceDomain\0i\0"s), ok);
    (void)control.event();
    EXPECT_EQ(control.ask(Op::is_domain_introduced, "5\0"s), "F\0"s);
    EXPECT_EQ(control.ask(Op::introduce, "5\0001234\0003\0"s), ok);
    EXPECT_EQ(control.event(), "@introduceDomain\0i\0"s);
    EXPECT_EQ(control.ask(Op::is_domain_introduced, "5\0"s), "T\0"s);
    Client guest{core, 5};
    EXPECT_EQ(guest.ask(Op::introduce, "6\0001234\0003\0"s), "!EACCES");
    EXPECT_EQ(guest.ask(Op::release, "5\0"s), "!EACCES");
    EXPECT_EQ(control.ask(Op::release, "5\0"s), ok);
    EXPECT_EQ(control.ask(Op::release, "5\0"s), "!ENOENT");
}

TEST_F(CoreTest, ANumberThatIsUsedAgainBringsNothingBack) {
    ASSERT_EQ(control.ask(Op::mkdir, "/local/domain/6/for7\0"s), ok);
    ASSERT_EQ(control.ask(Op::set_perms, "/local/domain/6/for7\0n6\0b7\0"s), ok);
    Client stub{core, 8};
    {
        Client dead{core, 7};
        ASSERT_EQ(dead.ask(Op::write, "/local/domain/6/for7/x\0v"s), ok);
        stub.connection.caller.target = 7;
        EXPECT_EQ(stub.ask(Op::read, "/local/domain/6/for7/x\0"s), "v");
    }
    std::size_t changes = 0;
    core.on_change = [&](const std::vector<Change>& all) { changes += all.size(); };
    core.forget_domain(7);
    EXPECT_EQ(changes, 2u);
    Client next{core, 7};
    EXPECT_EQ(next.ask(Op::read, "/local/domain/6/for7/x\0"s), "!EACCES");
    EXPECT_EQ(next.ask(Op::write, "/local/domain/6/for7/y\0v"s), "!EACCES");
    EXPECT_EQ(stub.ask(Op::read, "/local/domain/6/for7/x\0"s), "!EACCES");
    EXPECT_EQ(core.tree().nodes_of(7), 0u);
    EXPECT_EQ(control.ask(Op::get_perms, "/local/domain/6/for7/x\0"s), "n6\0"s);
    EXPECT_EQ(control.ask(Op::control, "check\0"s), "consistent\n\0"s);
}

TEST_F(CoreTest, DirectoryPartCoversALargeDirectory) {
    for (int i = 0; i < 900; ++i)
        (void)control.ask(Op::write, "/big/node-" + std::to_string(i) + "\0"s);
    EXPECT_EQ(control.ask(Op::directory, "/big\0"s), "!E2BIG");
    std::size_t names = 0;
    std::size_t offset = 0;
    for (;;) {
        const std::string part =
            control.ask(Op::directory_part, "/big\0"s + std::to_string(offset) + "\0"s);
        ASSERT_NE(part.front(), '!');
        std::string_view rest = part;
        rest.remove_prefix(rest.find('\0') + 1);
        bool end = false;
        while (!rest.empty()) {
            const std::size_t nul = rest.find('\0');
            if (nul == 0) {
                end = true;
                break;
            }
            ++names;
            offset += nul + 1;
            rest.remove_prefix(nul + 1);
        }
        if (end)
            break;
    }
    EXPECT_EQ(names, 900u);
}

TEST_F(CoreTest, RingCarriesAConversation) {
    cero_xenstore_page page{};
    page.req_prod = page.req_cons = page.rsp_prod = page.rsp_cons = 0xfffffff0; // wraps soon
    Client guest{core, 5};
    RingTransport ring{&page, guest.connection};
    std::string sent;
    for (unsigned i = 0; i < 200; ++i) {
        encode_to(sent, Op::write, 2 * i, 0, "k\0"s + std::string(i * 5, 'v'));
        encode_to(sent, Op::read, 2 * i + 1, 0, "k\0"s);
    }
    Decoder replies;
    unsigned seen = 0;
    std::size_t at = 0;
    while (seen < 400) {
        while (at < sent.size() && page.req_prod - page.req_cons < sizeof page.req)
            page.req[page.req_prod++ & (sizeof page.req - 1)] = sent[at++];
        (void)pump(ring, core);
        while (page.rsp_cons != page.rsp_prod)
            replies.feed({&page.rsp[page.rsp_cons++ & (sizeof page.rsp - 1)], 1});
        while (const auto reply = replies.next()) {
            ASSERT_EQ(reply->request, seen);
            if (seen % 2 == 1) {
                ASSERT_EQ(reply->payload.size(), seen / 2 * 5);
            }
            ++seen;
        }
    }
    EXPECT_FALSE(ring.is_broken());
}

TEST_F(CoreTest, BrokenRingsAreLeftAlone) {
    cero_xenstore_page page{};
    page.req_prod = 5000;
    Client guest{core, 5};
    RingTransport ring{&page, guest.connection};
    (void)pump(ring, core);
    EXPECT_TRUE(ring.is_broken());
    EXPECT_FALSE(pump(ring, core));
}

TEST_F(CoreTest, RandomRingsNeverDoHarm) {
    std::mt19937 random{3};
    for (int round = 0; round < 500; ++round) {
        cero_xenstore_page page{};
        for (char& byte : page.req)
            byte = static_cast<char>(random() % 3 == 0 ? random() % 24 : 0);
        Client guest{core, 5};
        RingTransport ring{&page, guest.connection};
        for (int step = 0; step < 20; ++step) {
            page.req_prod += static_cast<std::uint32_t>(random() % 600);
            page.rsp_cons =
                random() % 8 == 0 ? static_cast<std::uint32_t>(random()) : page.rsp_prod;
            (void)pump(ring, core);
        }
    }
    EXPECT_EQ(control.ask(Op::control, "check\0"s), "consistent\n\0"s);
}

} // namespace
} // namespace cero::store
