// SPDX-License-Identifier: BSD-2-Clause
// BlockServer under random load: against a model of the disk, and with a guest that writes garbage
// anywhere at any time.
#include "block_server_fixture.hpp"

#include <random>
#include <set>

using namespace block_test;

namespace {

struct Shape {
    unsigned rings, pages;
    bool persistent;
};
class ServerModel : public Server, public testing::WithParamInterface<Shape> {};

/// Random transfers, completions in any order; a model of the disk knows what every sector holds.
TEST_P(ServerModel, KeepsEveryByte) {
    connection.ring_count = GetParam().rings;
    connection.ring_pages = GetParam().pages;
    connection.persistent = GetParam().persistent;
    connect();
    std::mt19937 random{42};
    constexpr unsigned places = disk_sectors / 64; // one request per place at a time
    std::vector<unsigned char> model(places, 0);
    struct Pending {
        unsigned place, first, pages;
        bool is_write;
        unsigned char value;
    };
    std::map<std::uint64_t, Pending> pending;
    std::set<unsigned> busy;
    std::vector<kernel::grant::Ref> refs;
    constexpr unsigned pages_per_place = 8;
    for (unsigned i = 0; i < places * pages_per_place; ++i)
        refs.push_back(guest.grant(ring_frames + i, true));
    std::uint64_t next_id = 1;
    const auto answers = [&](unsigned queue) {
        cero_blkif_response response;
        while (fronts[queue].take(response)) {
            ASSERT_EQ(response.status, 0);
            const Pending done = pending.at(response.id);
            pending.erase(response.id);
            busy.erase(done.place);
            if (done.is_write)
                model[done.place] = done.value;
            else
                for (unsigned i = 0; i < done.pages; ++i)
                    ASSERT_EQ(
                        static_cast<unsigned char>(*guest.frame(ring_frames + done.first + i)),
                        model[done.place]);
        }
    };
    for (unsigned step = 0; step < 20000; ++step) {
        const unsigned queue = random() % connection.ring_count;
        if (random() % 2 == 0 && fronts[queue].free_slots() != 0) {
            Pending made{static_cast<unsigned>(random() % places), 0, pages_per_place,
                         random() % 2 == 0, static_cast<unsigned char>(random())};
            if (!busy.insert(made.place).second)
                continue;
            made.first = made.place * pages_per_place;
            for (unsigned i = 0; i < made.pages; ++i)
                std::memset(guest.frame(ring_frames + made.first + i),
                            made.is_write ? made.value : 0xee, 4096);
            const std::vector<kernel::grant::Ref> mine(refs.begin() + made.first,
                                                       refs.begin() + made.first + made.pages);
            const std::uint8_t operation = !made.is_write       ? CERO_BLKIF_OP_READ
                                           : random() % 16 == 0 ? CERO_BLKIF_OP_WRITE_BARRIER
                                                                : CERO_BLKIF_OP_WRITE;
            put(entry(operation, next_id, made.place * 64, mine), queue);
            pending[next_id++] = made;
            kick(queue);
        } else if (!disk.waiting.empty()) {
            disk.finish(random() % disk.waiting.size());
        }
        answers(queue);
    }
    while (!disk.waiting.empty())
        disk.finish(0);
    for (unsigned queue = 0; queue < connection.ring_count; ++queue)
        answers(queue);
    EXPECT_TRUE(pending.empty());
    EXPECT_GT(next_id, 3000u);
}

/// The guest writes random bytes anywhere in its rings and lists, at any time, and sends events.
TEST_P(ServerModel, SurvivesAnythingInTheRings) {
    connection.ring_count = GetParam().rings;
    connection.ring_pages = GetParam().pages;
    connection.persistent = GetParam().persistent;
    std::mt19937 random{7};
    std::vector<kernel::grant::Ref> refs;
    for (unsigned i = 0; i < 64; ++i)
        refs.push_back(guest.grant(ring_frames + i, i % 3 != 0));
    const auto scribble = [&] {
        const unsigned queue = random() % connection.ring_count;
        std::byte* const memory = ring_memory(queue);
        for (unsigned i = 0; i < 16; ++i) {
            const std::size_t at =
                sizeof(RingHeader) + random() % (connection.ring_pages * 4096 - sizeof(RingHeader));
            memory[at] = static_cast<std::byte>(random());
        }
        guest.frame(ring_frames + random() % 64)[random() % 4096] =
            static_cast<std::byte>(random() % 9);
    };
    for (unsigned round = 0; round < 300; ++round) {
        disk.failing = round % 5 == 0;
        disk.at_once = round % 3 == 0;
        connect();
        guest.disturb = scribble;
        for (unsigned step = 0; step < 40; ++step) {
            const unsigned queue = random() % connection.ring_count;
            if (fronts[queue].free_slots() == 0)
                break;
            cero_blkif_entry made{};
            auto* const bytes = reinterpret_cast<unsigned char*>(&made);
            for (std::size_t i = 0; i < sizeof made; ++i)
                bytes[i] = static_cast<unsigned char>(random());
            made.request.operation = static_cast<std::uint8_t>(random() % 8);
            made.request.nr_segments = static_cast<std::uint8_t>(random() % 12);
            made.request.sector_number = random() % (disk_sectors + 64);
            for (auto& segment : made.request.seg)
                segment = {random() % 8 == 0 ? static_cast<cero_grant_ref>(random())
                                             : refs[random() % refs.size()],
                           static_cast<std::uint8_t>(random() % 3),
                           static_cast<std::uint8_t>(random() % 9), 0};
            if (made.request.operation == CERO_BLKIF_OP_INDIRECT) {
                made.indirect.indirect_op = static_cast<std::uint8_t>(random() % 3);
                made.indirect.nr_segments = static_cast<std::uint16_t>(random() % 40);
                made.indirect.indirect_grefs[0] = refs[random() % refs.size()];
            }
            put(made, queue);
            kick(queue);
            if (random() % 4 == 0 && !disk.waiting.empty())
                disk.finish(random() % disk.waiting.size());
            cero_blkif_response response;
            while (fronts[queue].take(response)) {
            }
        }
        if (round % 4 == 0) {
            reinterpret_cast<RingHeader*>(ring_memory(0))->req_prod = random();
            guest.send_event(40);
        }
        guest.disturb = nullptr;
        server->disconnect();
        ASSERT_EQ(guest.mappings(), 0u);
        ASSERT_EQ(guest.open_ports(), 0u);
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ServerModel,
                         testing::Values(Shape{1, 1, false}, Shape{1, 1, true}, Shape{1, 4, false},
                                         Shape{4, 1, true}, Shape{3, 2, false}, Shape{4, 4, true}),
                         [](const auto& info) {
                             return std::to_string(info.param.rings) + "rings" +
                                    std::to_string(info.param.pages) + "pages" +
                                    (info.param.persistent ? "persistent" : "");
                         });

} // namespace
