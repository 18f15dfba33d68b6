// SPDX-License-Identifier: BSD-2-Clause
// A BlockServer between a front end's rings and a disk in memory, for tests.
#pragma once

#include "blkif/server.hpp"
#include "host_guest.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

namespace block_test {

using namespace drivers;
using namespace drivers::blkif;
using host::HostGuest;

inline constexpr unsigned frame_count = 2048;
inline constexpr unsigned ring_frames = max_queues * max_ring_pages;
inline constexpr std::uint64_t disk_sectors = 4096;

/// A disk in memory that completes when the test says so, in any order.
class TestDisk final : public BlockDevice {
public:
    struct Seen {
        BlockOp op;
        std::uint64_t sector, count;
        bool force_unit_access;
    };

    TestDisk() {
        geometry_.sectors = disk_sectors;
        geometry_.has_flush = true;
        geometry_.max_discard_sectors = 100;
        geometry_.discard_granularity = 8 * 512;
        geometry_.discard_alignment = 3 * 512;
    }
    void set_block_size(std::uint32_t size) { geometry_.logical_sector_size = size; }

    void finish(std::size_t index) {
        BlockRequest& request = *waiting.at(index);
        waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(index));
        std::uint64_t at = request.sector * 512;
        for (unsigned i = 0; i < request.segment_count; ++i) {
            const BlockSegment& segment = request.segments[i];
            // Both names of the bytes must mean the guest's page.
            const std::byte* const guest =
                HostGuest::current->frame(segment.machine / 4096) + segment.machine % 4096;
            EXPECT_EQ(std::memcmp(guest, segment.data, segment.length), 0);
            if (request.op == BlockOp::write)
                std::memcpy(&bytes[at], segment.data, segment.length);
            else
                std::memcpy(segment.data, &bytes[at], segment.length);
            at += segment.length;
        }
        request.finish(failing ? Errno::io : Errno::ok);
    }
    void finish_all() {
        while (!waiting.empty())
            finish(0);
    }

    std::vector<unsigned char> bytes = std::vector<unsigned char>(disk_sectors * 512);
    std::vector<BlockRequest*> waiting;
    std::vector<Seen> seen;
    bool at_once{};
    bool failing{};

private:
    void start(BlockRequest& request) noexcept override {
        EXPECT_LE(request.sector + request.sector_count, disk_sectors);
        seen.push_back(
            {request.op, request.sector, request.sector_count, request.force_unit_access});
        waiting.push_back(&request);
        if (at_once)
            finish(waiting.size() - 1);
    }
};

using Front = FrontRing<cero_blkif_entry, cero_blkif_response>;

class Server : public testing::Test {
protected:
    HostGuest guest{frame_count};
    TestDisk disk;
    Connection connection;
    Front fronts[max_queues];
    std::unique_ptr<BlockServer> server = std::make_unique<BlockServer>("test");

    void SetUp() override {
        connection = {HostGuest::id, &disk, false, true, false, 1, 1, {}};
        guest.while_asleep = [this] {
            if (disk.waiting.empty())
                return false;
            disk.finish(disk.waiting.size() - 1);
            return true;
        };
    }
    void TearDown() override {
        guest.disturb = nullptr;
        server.reset();
        EXPECT_EQ(guest.mappings(), 0u) << "pages of the guest's are still mapped";
        EXPECT_EQ(guest.open_ports(), 0u);
        EXPECT_EQ(guest.reserved_areas(), 0u);
        EXPECT_TRUE(disk.waiting.empty());
    }
    std::byte* ring_memory(unsigned queue) const { return guest.frame(queue * max_ring_pages); }
    Status offer() {
        for (unsigned i = 0; i < connection.ring_count; ++i) {
            std::memset(ring_memory(i), 0, connection.ring_pages * 4096);
            fronts[i].initialise(ring_memory(i), connection.ring_pages * 4096);
            for (unsigned page = 0; page < connection.ring_pages; ++page)
                connection.rings[i].refs[page] = guest.grant(i * max_ring_pages + page, true);
            connection.rings[i].remote_port = 40 + i;
        }
        return server->connect(connection);
    }
    void connect() {
        ASSERT_TRUE(offer());
        server->begin();
    }
    void kick(unsigned queue = 0) {
        if (fronts[queue].push())
            guest.send_event(40 + queue);
    }
    static cero_blkif_entry entry(std::uint8_t operation, std::uint64_t id, std::uint64_t sector,
                                  const std::vector<kernel::grant::Ref>& pages) {
        cero_blkif_entry made{};
        made.request.operation = operation;
        made.request.nr_segments = static_cast<std::uint8_t>(pages.size());
        made.request.id = id;
        made.request.sector_number = sector;
        for (std::size_t i = 0; i < pages.size(); ++i)
            made.request.seg[i] = {pages[i], 0, 7, 0};
        return made;
    }
    static cero_blkif_entry discard(std::uint64_t id, std::uint64_t sector, std::uint64_t count) {
        cero_blkif_entry made{};
        made.discard = {CERO_BLKIF_OP_DISCARD, 0, 0, 0, id, sector, count};
        return made;
    }
    void put(const cero_blkif_entry& request, unsigned queue = 0) { fronts[queue].put(request); }
    /// Expects exactly these answers on the queue, in any order.
    void expect_answers(std::map<std::uint64_t, int> wanted, unsigned queue = 0) {
        cero_blkif_response response;
        while (fronts[queue].take(response)) {
            const auto at = wanted.find(response.id);
            ASSERT_NE(at, wanted.end()) << "answer to no request: " << response.id;
            EXPECT_EQ(response.status, at->second) << "request " << response.id;
            wanted.erase(at);
        }
        EXPECT_TRUE(wanted.empty()) << wanted.size() << " requests were not answered";
    }
};

} // namespace block_test
