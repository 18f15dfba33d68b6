// SPDX-License-Identifier: BSD-2-Clause
// BlockServer: errors, barriers, discards, persistent pages, hostile guests; everything is given
// back.
#include "block_server_fixture.hpp"

using namespace block_test;

namespace {

TEST_F(Server, WritesAndReadsBackAndAnswersAfterThePageIsReturned) {
    connect();
    const auto page = guest.grant(100, false);
    const auto target = guest.grant(101, true);
    std::memset(guest.frame(100), 0x5a, 4096);
    const std::size_t idle = guest.mappings();
    put(entry(CERO_BLKIF_OP_WRITE, 1, 16, {page}));
    kick();
    EXPECT_EQ(guest.mappings(), idle + 1);
    expect_answers({});
    disk.finish_all();
    EXPECT_EQ(guest.mappings(), idle);
    expect_answers({{1, CERO_BLKIF_RSP_OKAY}});
    EXPECT_EQ(guest.events(40), 1u);
    put(entry(CERO_BLKIF_OP_READ, 2, 16, {target}));
    kick();
    disk.finish_all();
    expect_answers({{2, CERO_BLKIF_RSP_OKAY}});
    EXPECT_EQ(std::memcmp(guest.frame(101), guest.frame(100), 4096), 0);
}

TEST_F(Server, FailuresOfTheDiskAndOfGrantsReachTheGuest) {
    connect();
    const auto writable = guest.grant(100, true);
    const auto read_only = guest.grant(101, false);
    disk.failing = true;
    put(entry(CERO_BLKIF_OP_READ, 1, 0, {writable}));
    put(entry(CERO_BLKIF_OP_READ, 2, 0, {writable, read_only}));
    put(entry(CERO_BLKIF_OP_READ, 3, 0, {99999}));
    put(entry(CERO_BLKIF_OP_READ, 4, disk_sectors - 1, {writable}));
    put(entry(CERO_BLKIF_OP_READ, 5, ~0ull, {writable}));
    put(entry(99, 6, 0, {writable}));
    kick();
    disk.finish_all();
    expect_answers({{1, -1}, {2, -1}, {3, -1}, {4, -1}, {5, -1}, {6, -2}});
    EXPECT_EQ(disk.seen.size(), 1u) << "only the first one was fit for the disk";
}

TEST_F(Server, ReadOnlyAndUnofferedOperationsAreRefused) {
    connection.read_only = true;
    connection.discard = false;
    connect();
    put(entry(CERO_BLKIF_OP_WRITE, 1, 0, {guest.grant(100, true)}));
    put(entry(CERO_BLKIF_OP_WRITE_BARRIER, 2, 0, {guest.grant(100, true)}));
    put(discard(3, 0, 8));
    kick();
    expect_answers({{1, -1}, {2, -1}, {3, -1}});
    EXPECT_TRUE(disk.seen.empty());
    server->disconnect();
    connection.read_only = false;
    connect();
    put(discard(4, 0, 8));
    kick();
    expect_answers({{4, -2}});
    EXPECT_TRUE(disk.seen.empty());
}

TEST_F(Server, BlocksOf4096BytesAreNotSplit) {
    disk.set_block_size(4096);
    connect();
    const auto page = guest.grant(100, true);
    auto halves = entry(CERO_BLKIF_OP_WRITE, 1, 8, {page, page});
    halves.request.seg[0].last_sect = 3;
    halves.request.seg[1].first_sect = 4;
    put(halves);
    put(entry(CERO_BLKIF_OP_WRITE, 2, 8, {page}));
    put(entry(CERO_BLKIF_OP_WRITE, 3, 9, {page}));
    kick();
    disk.finish_all();
    expect_answers({{1, -1}, {2, 0}, {3, -1}});
}

TEST_F(Server, BarrierWaitsForAllAndHoldsAllBack) {
    connection.ring_count = 2;
    connect();
    const auto page = guest.grant(100, true);
    put(entry(CERO_BLKIF_OP_WRITE, 1, 0, {page}));
    put(entry(CERO_BLKIF_OP_WRITE, 2, 8, {page}));
    put(entry(CERO_BLKIF_OP_WRITE_BARRIER, 3, 16, {page}));
    put(entry(CERO_BLKIF_OP_WRITE, 4, 24, {page}));
    kick();
    put(entry(CERO_BLKIF_OP_WRITE, 5, 32, {page}), 1);
    kick(1);
    EXPECT_EQ(disk.seen.size(), 2u) << "nothing passes the barrier, on either ring";
    disk.finish(0);
    EXPECT_EQ(disk.seen.size(), 2u) << "one before it is not done";
    disk.finish(0);
    ASSERT_EQ(disk.seen.size(), 3u);
    EXPECT_EQ(disk.seen[2].op, BlockOp::flush);
    disk.finish(0);
    ASSERT_EQ(disk.seen.size(), 4u);
    EXPECT_EQ(disk.seen[3].sector, 16u);
    EXPECT_TRUE(disk.seen[3].force_unit_access);
    disk.finish(0);
    EXPECT_EQ(disk.seen.size(), 6u);
    EXPECT_FALSE(disk.seen[4].force_unit_access);
    disk.finish_all();
    expect_answers({{1, 0}, {2, 0}, {3, 0}, {4, 0}});
    expect_answers({{5, 0}}, 1);
}

TEST_F(Server, EmptyBarrierIsAFlushAndAFailedOneSaysSo) {
    connect();
    put(entry(CERO_BLKIF_OP_WRITE_BARRIER, 1, 0, {}));
    kick();
    ASSERT_EQ(disk.seen.size(), 1u);
    EXPECT_EQ(disk.seen[0].op, BlockOp::flush);
    disk.finish_all();
    disk.failing = true;
    put(entry(CERO_BLKIF_OP_WRITE_BARRIER, 2, 0, {guest.grant(100, true)}));
    kick();
    disk.finish(0); // the flush fails
    EXPECT_TRUE(disk.waiting.empty()) << "the data of a failed barrier is not written";
    expect_answers({{1, 0}, {2, -1}});
}

TEST_F(Server, LongDiscardIsDoneInPartsThatEndAtGranules) {
    connect();
    put(discard(1, 1, 450));
    kick();
    disk.finish_all();
    expect_answers({{1, 0}});
    std::uint64_t at = 1;
    for (const auto& part : disk.seen) {
        EXPECT_EQ(part.op, BlockOp::discard);
        EXPECT_EQ(part.sector, at);
        EXPECT_LE(part.count, 100u);
        at += part.count;
        EXPECT_TRUE(at == 451 || (at - 3) % 8 == 0) << "a granule is cut at " << at;
    }
    EXPECT_EQ(at, 451u);
}

TEST_F(Server, DiscardBeyondTheEndTouchesNothing) {
    connect();
    put(discard(1, 8, disk_sectors));
    put(discard(2, ~0ull, 2));
    put(discard(3, 0, ~0ull));
    put(discard(4, 0, 0));
    kick();
    EXPECT_TRUE(disk.seen.empty());
    expect_answers({{1, -1}, {2, -1}, {3, -1}, {4, -1}});
    disk.failing = true;
    put(discard(5, 0, 1000));
    kick();
    disk.finish(0);
    EXPECT_EQ(disk.seen.size(), 1u) << "a failed part is the last one";
    expect_answers({{5, -1}});
}

TEST_F(Server, DiskThatCompletesInsideSubmitDoesNotNest) {
    disk.at_once = true;
    connect();
    put(discard(1, 0, disk_sectors));
    put(entry(CERO_BLKIF_OP_WRITE_BARRIER, 2, 0, {guest.grant(100, true)}));
    put(entry(CERO_BLKIF_OP_READ, 3, 0, {guest.grant(100, true)}));
    kick();
    expect_answers({{1, 0}, {2, 0}, {3, 0}});
}

TEST_F(Server, PersistentPagesAreMappedOnceWritable) {
    connection.persistent = true;
    connect();
    const std::vector<kernel::grant::Ref> pages{guest.grant(100, true), guest.grant(101, true)};
    const unsigned before = guest.map_count;
    for (std::uint64_t id = 0; id < 50; ++id) {
        put(entry(id % 2 != 0 ? CERO_BLKIF_OP_READ : CERO_BLKIF_OP_WRITE, id, 0, pages));
        put(entry(CERO_BLKIF_OP_WRITE, 100 + id, 64, {pages[0], pages[0]}));
        kick();
        disk.finish_all();
        expect_answers({{id, 0}, {100 + id, 0}});
    }
    EXPECT_EQ(guest.map_count, before + 2);
    put(entry(CERO_BLKIF_OP_WRITE, 1, 0, {guest.grant(102, false), pages[0]}));
    kick();
    disk.finish_all();
    expect_answers({{1, -1}}); // a read-only page cannot be persistent
}

TEST_F(Server, MorePersistentPagesThanRoomMakeRoomForEachOther) {
    connection.persistent = true;
    connect();
    std::vector<kernel::grant::Ref> pages;
    for (unsigned i = 0; i < PersistentGrants::capacity + 300; ++i)
        pages.push_back(guest.grant(ring_frames + i, true));
    for (std::size_t i = 0; i < pages.size(); ++i) {
        put(entry(CERO_BLKIF_OP_WRITE, i, i % 512, {pages[i]}));
        kick();
        disk.finish_all();
        expect_answers({{i, 0}});
    }
    EXPECT_LE(guest.mappings(), PersistentGrants::capacity + 1);
    const unsigned before = guest.map_count;
    put(entry(CERO_BLKIF_OP_WRITE, 9, 0, {pages.back()}));
    put(entry(CERO_BLKIF_OP_WRITE, 10, 0, {pages.front()}));
    kick();
    disk.finish_all();
    expect_answers({{9, 0}, {10, 0}});
    EXPECT_EQ(guest.map_count, before + 1) << "the last one stayed, the first one had to go";
}

TEST_F(Server, IndirectListIsFetchedOnce) {
    connect();
    auto* const list = reinterpret_cast<cero_blkif_segment*>(guest.frame(99));
    for (unsigned i = 0; i < max_segments; ++i) {
        list[i] = {guest.grant(100 + i, true), 0, 7, 0};
        std::memset(guest.frame(100 + i), static_cast<int>(i), 4096);
    }
    cero_blkif_entry made{};
    made.indirect.operation = CERO_BLKIF_OP_INDIRECT;
    made.indirect.indirect_op = CERO_BLKIF_OP_WRITE;
    made.indirect.nr_segments = max_segments;
    made.indirect.id = 1;
    made.indirect.sector_number = 0;
    made.indirect.indirect_grefs[0] = guest.grant(99, false);
    put(made);
    guest.disturb = [&] { std::memset(list, 0xff, 4096); }; // right after the copy
    kick();
    disk.finish_all();
    expect_answers({{1, 0}});
    for (unsigned i = 0; i < max_segments; ++i)
        EXPECT_EQ(disk.bytes[i * 4096], i);
}

TEST_F(Server, RequestChangedAfterItWasTakenIsCarriedOutAsItWas) {
    connect();
    const auto page = guest.grant(100, true);
    put(entry(CERO_BLKIF_OP_READ, 77, 8, {page}));
    guest.disturb = [&] {
        std::memset(ring_memory(0) + sizeof(RingHeader), 0xff, 4096 - sizeof(RingHeader));
    };
    kick();
    ASSERT_EQ(disk.seen.size(), 1u);
    EXPECT_EQ(disk.seen[0].op, BlockOp::read);
    EXPECT_EQ(disk.seen[0].sector, 8u);
    disk.finish_all();
    expect_answers({{77, 0}});
}

TEST_F(Server, ImpossibleIndexEndsTheService) {
    connection.ring_count = 2;
    connect();
    const auto page = guest.grant(100, true);
    put(entry(CERO_BLKIF_OP_READ, 1, 8, {page}));
    kick();
    auto& header = *reinterpret_cast<RingHeader*>(ring_memory(1));
    for (const std::uint32_t jump : {33u, 1000u, 0x80000000u, ~0u}) {
        header.req_prod = jump;
        guest.send_event(41);
    }
    EXPECT_EQ(disk.seen.size(), 1u);
    put(entry(CERO_BLKIF_OP_READ, 2, 8, {page}));
    kick();
    EXPECT_EQ(disk.seen.size(), 1u) << "the guest is ignored";
    disk.finish_all();
}

TEST_F(Server, ImpossibleIndexesAreNotLoggedForEver) {
    host::log_lines.clear();
    for (unsigned i = 0; i < 100; ++i) {
        connect();
        reinterpret_cast<RingHeader*>(ring_memory(0))->req_prod = 1000;
        guest.send_event(40);
        server->disconnect();
    }
    EXPECT_EQ(host::log_lines.size(), kernel::LogLimiter::burst);
}

TEST_F(Server, OneEventCannotKeepTheBackEndBusyForEver) {
    disk.at_once = true;
    connection.ring_pages = 4; // more slots than jobs
    connect();
    const auto request = entry(CERO_BLKIF_OP_READ, 1, 0, {guest.grant(100, true)});
    // The guest adds requests while it is served, as another CPU would, and looks at no answer.
    auto& header = *reinterpret_cast<RingHeader*>(ring_memory(0));
    const auto add = [&] {
        const std::size_t slot = header.req_prod++ % fronts[0].size();
        std::memcpy(ring_memory(0) + sizeof header + slot * sizeof request, &request,
                    sizeof request);
    };
    guest.disturb = [&] {
        if (disk.seen.size() < 5000)
            add();
    };
    for (unsigned i = 0; i < 8; ++i)
        add();
    guest.holds_raised = true;
    guest.send_event(40);
    std::size_t before = 0;
    for (unsigned turn = 0; turn < 20; ++turn) {
        EXPECT_TRUE(guest.deliver_raised()) << "it asks for another turn, each time";
        EXPECT_GT(disk.seen.size(), before);
        EXPECT_LE(disk.seen.size() - before, 64u);
        before = disk.seen.size();
    }
    EXPECT_LT(before, 5000u);
    guest.holds_raised = false;
    guest.send_event(40);
    EXPECT_GE(disk.seen.size(), 5000u) << "nothing is left";
}

TEST_F(Server, ACompletionTakesNoRequestsButAsksForATurn) {
    connection.ring_pages = 4; // more slots than jobs
    connect();
    const auto page = guest.grant(100, true);
    for (unsigned i = 0; i < 100; ++i)
        put(entry(CERO_BLKIF_OP_READ, i, 0, {page}));
    kick();
    EXPECT_EQ(disk.seen.size(), 64u);
    EXPECT_EQ(guest.raised(), 0u) << "nothing to do before a job is free";
    guest.holds_raised = true;
    const unsigned events = guest.events(40);
    disk.finish(0);
    EXPECT_EQ(disk.seen.size(), 64u) << "more of the guest's work outside of its turn";
    EXPECT_EQ(guest.events(40), events + 1) << "the response does not wait";
    EXPECT_EQ(guest.raised(), 1u);
    EXPECT_TRUE(guest.deliver_raised());
    EXPECT_EQ(disk.seen.size(), 65u);
    guest.holds_raised = false;
    while (!disk.waiting.empty())
        disk.finish_all();
    EXPECT_EQ(disk.seen.size(), 100u);
}

TEST_F(Server, ABrokenRingMasksThePortsOfAll) {
    connection.ring_count = 2;
    connect();
    EXPECT_FALSE(guest.is_masked(40) || guest.is_masked(41));
    reinterpret_cast<RingHeader*>(ring_memory(1))->req_prod = 1000;
    guest.send_event(41);
    EXPECT_TRUE(guest.is_masked(40) && guest.is_masked(41));
    server->disconnect();
    connect();
    put(entry(CERO_BLKIF_OP_READ, 1, 0, {guest.grant(100, true)}));
    kick();
    EXPECT_EQ(disk.seen.size(), 1u) << "a new connection is served";
    disk.finish_all();
}

TEST_F(Server, EveryFailureWhileConnectingGivesEverythingBack) {
    connection.ring_count = 3;
    connection.ring_pages = 2;
    connection.persistent = true;
    unsigned at = 1;
    for (;; ++at) {
        guest.failure_in = at;
        const bool connected = offer().has_value();
        const bool failed = guest.failure_in == 0;
        server->disconnect();
        EXPECT_EQ(guest.mappings(), 0u) << "failure " << at;
        EXPECT_EQ(guest.open_ports(), 0u) << "failure " << at;
        EXPECT_EQ(guest.reserved_areas(), 0u) << "failure " << at;
        EXPECT_EQ(connected, !failed) << "failure " << at;
        if (!failed)
            break;
    }
    EXPECT_GT(at, 10u);
    guest.failure_in = 0;
}

TEST_F(Server, DisconnectAwaitsWhatIsInFlight) {
    connection.persistent = true;
    connect();
    const auto page = guest.grant(100, true);
    for (std::uint64_t id = 0; id < 5; ++id)
        put(entry(CERO_BLKIF_OP_WRITE, id, id * 8, {page}));
    put(entry(CERO_BLKIF_OP_WRITE_BARRIER, 5, 0, {page}));
    kick();
    EXPECT_EQ(disk.waiting.size(), 5u);
    server->disconnect();
    EXPECT_TRUE(disk.waiting.empty());
    EXPECT_EQ(guest.mappings(), 0u);
}

} // namespace
