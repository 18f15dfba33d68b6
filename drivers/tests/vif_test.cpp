// SPDX-License-Identifier: BSD-2-Clause
// netback's queues against a guest that behaves, and one that does not.
#include "host_guest.hpp"
#include "netif/vif.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

using namespace drivers;
using namespace drivers::netif;

namespace {

constexpr unsigned frame_count = 64;
constexpr unsigned data_frames = 16; ///< before these: the rings
constexpr unsigned first_ref = 8;    ///< of frame 0, in a new HostGuest
constexpr unsigned data = first_ref + data_frames;
constexpr unsigned no_grant = 1000;

/// Keeps what the vif delivers.
struct Sink final : NetReceiver {
    std::vector<std::vector<std::uint8_t>> frames;
    void receive(PacketList& packets) noexcept override {
        while (PacketBuffer* packet = packets.pop_front()) {
            auto& frame = frames.emplace_back(packet->length());
            packet->copy_out(0, frame.data(), frame.size());
            packet->release();
        }
    }
};

/// A guest's end of one queue; nothing in it is checked.
struct GuestQueue {
    host::HostGuest& guest;
    unsigned number;
    FrontRing<cero_netif_tx_entry, cero_netif_tx_response> tx;
    FrontRing<cero_netif_rx_request, cero_netif_rx_response> rx;

    GuestQueue(host::HostGuest& owner, unsigned which) : guest{owner}, number{which} {
        std::memset(guest.frame(2 * number), 0, 2 * kernel::page_size);
        tx.initialise(guest.frame(2 * number), kernel::page_size);
        rx.initialise(guest.frame(2 * number + 1), kernel::page_size);
    }
    [[nodiscard]] QueueOffer offer() const {
        return {first_ref + 2 * number, first_ref + 2 * number + 1, tx_port(), rx_port()};
    }
    [[nodiscard]] unsigned tx_port() const { return 10 + 2 * number; }
    [[nodiscard]] unsigned rx_port() const { return 11 + 2 * number; }
    [[nodiscard]] RingHeader& header() const {
        return *reinterpret_cast<RingHeader*>(guest.frame(2 * number));
    }
    void put(std::uint16_t id, unsigned ref, unsigned offset, unsigned size, unsigned flags) {
        tx.put(cero_netif_tx_request{ref, static_cast<std::uint16_t>(offset),
                                     static_cast<std::uint16_t>(flags), id,
                                     static_cast<std::uint16_t>(size)});
    }
    void send() {
        static_cast<void>(tx.push());
        guest.send_event(tx_port());
    }
    int answer() {
        cero_netif_tx_response response;
        return tx.take(response) ? response.status : 99;
    }
};

class VifTest : public ::testing::Test {
protected:
    VifTest() {
        vif.name_after(host::HostGuest::id, 0);
        for (unsigned i = 0; i < frame_count; ++i)
            EXPECT_EQ(guest.grant(i, true), first_ref + i);
    }
    ~VifTest() override {
        vif.disconnect();
        expect_nothing_held();
    }
    void expect_nothing_held() const {
        EXPECT_EQ(guest.mappings(), 0u);
        EXPECT_EQ(guest.open_ports(), 0u);
        EXPECT_EQ(guest.reserved_areas(), 0u);
    }
    void connect(unsigned count) {
        queues.clear();
        std::vector<QueueOffer> offers;
        for (unsigned i = 0; i < count; ++i)
            offers.push_back(queues.emplace_back(guest, i).offer());
        NetFeatures all{true, true, true, true};
        ASSERT_TRUE(vif.connect(offers.data(), count, all));
        vif.set_receiver(&sink);
    }
    host::HostGuest guest{frame_count};
    Sink sink;
    Vif vif{host::HostGuest::id};
    std::vector<GuestQueue> queues;
};

TEST_F(VifTest, APacketOfSeveralSlotsArrivesWhole) {
    connect(1);
    std::memset(guest.frame(data_frames), 0x11, 4096);
    std::memset(guest.frame(data_frames + 1), 0x22, 4096);
    queues[0].put(1, data, 96, 7000, CERO_NETTXF_more_data | CERO_NETTXF_data_validated);
    queues[0].put(2, data + 1, 0, 4000 - 904, 0);
    queues[0].send();
    // 7000 - 3096 = 3904 bytes are in the first slot, up to the end of its page.
    ASSERT_EQ(sink.frames.size(), 1u);
    EXPECT_EQ(sink.frames[0].size(), 7000u);
    EXPECT_EQ(sink.frames[0][3903], 0x11);
    EXPECT_EQ(sink.frames[0][3904], 0x22);
    EXPECT_EQ(queues[0].answer(), CERO_NETIF_RSP_OKAY);
    EXPECT_EQ(queues[0].answer(), CERO_NETIF_RSP_OKAY);
    EXPECT_EQ(guest.events(queues[0].tx_port()), 1u);
}

TEST_F(VifTest, ABadGrantCostsItsPacketAlone) {
    connect(1);
    queues[0].put(1, data, 0, 60, CERO_NETTXF_data_validated);
    queues[0].put(2, no_grant, 0, 60, CERO_NETTXF_data_validated);
    queues[0].put(3, data, 0, 60, CERO_NETTXF_data_validated);
    queues[0].send();
    EXPECT_EQ(sink.frames.size(), 2u);
    EXPECT_EQ(queues[0].answer(), CERO_NETIF_RSP_OKAY);
    EXPECT_EQ(queues[0].answer(), CERO_NETIF_RSP_ERROR);
    EXPECT_EQ(queues[0].answer(), CERO_NETIF_RSP_OKAY);
}

TEST_F(VifTest, BadGrantsOfRingsAreRefused) {
    const QueueOffer bad{no_grant, first_ref, 10, 11};
    EXPECT_FALSE(vif.connect(&bad, 1, {}));
    vif.disconnect();
    expect_nothing_held();
    const QueueOffer same{first_ref, first_ref, 10, 11};
    EXPECT_FALSE(vif.connect(&same, Vif::max_queues + 1, {}));
    EXPECT_FALSE(vif.connect(&same, 0, {}));
    // Whatever fails on the way, nothing stays behind.
    for (unsigned step = 1; step < 14; ++step) {
        const QueueOffer offers[] = {GuestQueue{guest, 0}.offer(), GuestQueue{guest, 1}.offer()};
        guest.failure_in = step;
        const bool connected = vif.connect(offers, 2, {}).has_value();
        EXPECT_EQ(connected, step > 12) << step; // an area, a map and a port for each ring
        guest.failure_in = 0;
        vif.disconnect();
        expect_nothing_held();
    }
}

TEST_F(VifTest, AChainWithoutEndStopsTheGuestNotUs) {
    connect(2);
    for (unsigned i = 0; i < 200; ++i)
        queues[0].put(static_cast<std::uint16_t>(i), data, 0, 60000, CERO_NETTXF_more_data);
    queues[0].send();
    EXPECT_TRUE(sink.frames.empty());
    // The other queue is the same guest's: ignored as well.
    queues[1].put(1, data, 0, 60, CERO_NETTXF_data_validated);
    queues[1].send();
    EXPECT_TRUE(sink.frames.empty());
    vif.disconnect();
    connect(1);
    queues[0].put(1, data, 0, 60, CERO_NETTXF_data_validated);
    queues[0].send();
    EXPECT_EQ(sink.frames.size(), 1u) << "after it connected again";
}

TEST_F(VifTest, AnIndexThatJumpsStopsTheGuest) {
    for (const std::uint32_t jump : {257u, 100000u, 0x80000000u, 0xffffffffu}) {
        connect(1);
        queues[0].header().req_prod = jump;
        guest.send_event(queues[0].tx_port());
        EXPECT_TRUE(sink.frames.empty());
        EXPECT_EQ(queues[0].header().rsp_prod, 0u);
        vif.disconnect();
    }
}

TEST_F(VifTest, AGuestThatBreaksItsRingAgainAndAgainIsNotLoggedForEver) {
    host::log_lines.clear();
    for (unsigned i = 0; i < 100; ++i) {
        connect(1);
        queues[0].header().req_prod = 1000;
        guest.send_event(queues[0].tx_port());
        vif.disconnect();
    }
    EXPECT_EQ(host::log_lines.size(), kernel::LogLimiter::burst);
}

TEST_F(VifTest, SegmentsOfNextToNothingAreRefused) {
    connect(1);
    const auto send = [&](std::uint16_t gso_size) {
        queues[0].put(1, data, 0, 4000, CERO_NETTXF_csum_blank | CERO_NETTXF_extra_info);
        cero_netif_extra_info extra{};
        extra.type = CERO_NETIF_EXTRA_TYPE_GSO;
        extra.u.gso.size = gso_size;
        extra.u.gso.type = CERO_NETIF_GSO_TYPE_TCPV4;
        queues[0].tx.put(extra);
        queues[0].send();
        const int status = queues[0].answer();
        static_cast<void>(queues[0].answer());
        return status;
    };
    EXPECT_EQ(send(1), CERO_NETIF_RSP_ERROR);
    EXPECT_EQ(send(15), CERO_NETIF_RSP_ERROR);
    EXPECT_EQ(send(1448), CERO_NETIF_RSP_OKAY);
}

PacketBuffer* udp_packet(std::uint16_t port, std::size_t size) {
    std::vector<std::uint8_t> frame(size);
    frame[12] = 8;
    frame[14] = 0x45;
    frame[23] = 17;
    std::memcpy(&frame[34], &port, 2);
    PacketBuffer* packet = PacketBuffer::allocate();
    EXPECT_TRUE(packet->append(frame.data(), frame.size()));
    return packet;
}

TEST_F(VifTest, AFlowStaysOnOneQueueAndFlowsSpread) {
    connect(4);
    for (GuestQueue& queue : queues) {
        for (unsigned i = 0; i < 256; ++i)
            queue.rx.put(cero_netif_rx_request{static_cast<std::uint16_t>(i), 0, data});
        static_cast<void>(queue.rx.push());
    }
    std::vector<unsigned> got(4);
    for (std::uint16_t port = 1; port <= 32; ++port) {
        const std::vector<unsigned> before = got;
        PacketList packets;
        for (int i = 0; i < 3; ++i)
            packets.push_back(*udp_packet(port, 100));
        vif.transmit(packets);
        for (unsigned i = 0; i < 4; ++i) {
            cero_netif_rx_response response;
            while (queues[i].rx.take(response)) {
                ++got[i];
                EXPECT_EQ(response.status, 100);
            }
        }
        unsigned touched = 0;
        for (unsigned i = 0; i < 4; ++i)
            touched += got[i] != before[i];
        EXPECT_EQ(touched, 1u);
    }
    EXPECT_GE(std::count_if(got.begin(), got.end(), [](unsigned n) { return n != 0; }), 3);
}

TEST_F(VifTest, AGuestWithoutBuffersDelaysNobody) {
    connect(1);
    for (int i = 0; i < 5000; ++i) {
        PacketList packets;
        packets.push_back(*udp_packet(1, 1500));
        vif.transmit(packets);
    }
    EXPECT_GT(vif.statistics().tx_dropped, 3900u);
    for (unsigned i = 0; i < 10; ++i)
        queues[0].rx.put(cero_netif_rx_request{static_cast<std::uint16_t>(i), 0, data});
    static_cast<void>(queues[0].rx.push());
    guest.send_event(queues[0].rx_port());
    cero_netif_rx_response response;
    unsigned got = 0;
    while (queues[0].rx.take(response))
        ++got;
    EXPECT_EQ(got, 10u) << "what waits arrives as soon as there are buffers";
}

TEST_F(VifTest, OneEventCannotKeepTheBackEndBusyForEver) {
    connect(1);
    // The guest adds slots while it is served, as another CPU would.
    unsigned added = 0;
    const auto add = [&] {
        while (added < 5000 && queues[0].tx.free_slots() != 0) {
            queues[0].put(1, data, 0, 60, CERO_NETTXF_data_validated);
            ++added;
        }
        static_cast<void>(queues[0].tx.push());
        cero_netif_tx_response response;
        while (queues[0].tx.take(response)) {
        }
    };
    guest.disturb = add;
    add();
    guest.holds_raised = true;
    guest.send_event(queues[0].tx_port());
    std::size_t before = 0;
    for (unsigned turn = 0; turn < 10; ++turn) {
        EXPECT_TRUE(guest.deliver_raised()) << "it asks for another turn, each time";
        EXPECT_GT(sink.frames.size(), before);
        EXPECT_LE(sink.frames.size() - before, 256u);
        before = sink.frames.size();
    }
    guest.holds_raised = false;
    for (unsigned i = 0; i < 100 && sink.frames.size() < 5000; ++i) {
        add();
        guest.send_event(queues[0].tx_port());
    }
    EXPECT_EQ(sink.frames.size(), 5000u);
    guest.disturb = nullptr;
}

TEST_F(VifTest, ABrokenRingMasksThePortsOfAll) {
    connect(2);
    EXPECT_FALSE(guest.is_masked(queues[0].tx_port()));
    queues[1].header().req_prod = 100000;
    guest.send_event(queues[1].tx_port());
    for (const GuestQueue& queue : queues) {
        EXPECT_TRUE(guest.is_masked(queue.tx_port()));
        EXPECT_TRUE(guest.is_masked(queue.rx_port()));
    }
    vif.disconnect();
    connect(1);
    queues[0].put(1, data, 0, 60, CERO_NETTXF_data_validated);
    queues[0].send();
    EXPECT_EQ(sink.frames.size(), 1u) << "a new connection is served";
}

TEST_F(VifTest, RandomRingsHarmNothing) {
    std::mt19937 random{17};
    for (unsigned round = 0; round < 300; ++round) {
        connect(1 + random() % Vif::max_queues);
        for (unsigned step = 0; step < 40; ++step) {
            GuestQueue& queue = queues[random() % queues.size()];
            // Mostly a believable producer index, over slots of any content.
            for (unsigned i = 0, count = random() % 60; i < count; ++i)
                if (random() % 3 == 0 || queue.tx.free_slots() == 0)
                    guest.frame(2 * queue.number + random() % 2)[64 + random() % 4000] =
                        static_cast<std::byte>(random());
                else
                    queue.put(static_cast<std::uint16_t>(random()),
                              random() % 8 == 0 ? random() : data + random() % 48,
                              random() % 4 == 0 ? random() : 0, random() % 5000, random() & 15);
            if (random() % 100 == 0)
                queue.header().req_prod = random();
            for (unsigned i = random() % 40; i != 0 && queue.rx.free_slots() != 0; --i)
                queue.rx.put(
                    cero_netif_rx_request{static_cast<std::uint16_t>(random()), 0,
                                          static_cast<cero_grant_ref>(data + random() % 60)});
            static_cast<void>(queue.rx.push());
            queue.send();
            guest.send_event(queue.rx_port());
            PacketList packets;
            for (unsigned i = random() % 8; i != 0; --i)
                packets.push_back(
                    *udp_packet(static_cast<std::uint16_t>(random()), 60 + random() % 30000));
            vif.transmit(packets);
            cero_netif_tx_response response;
            while (queue.tx.take(response))
                ;
            cero_netif_rx_response received;
            while (queue.rx.take(received))
                EXPECT_LE(received.status, 4096);
        }
        for (const auto& frame : sink.frames)
            EXPECT_GE(frame.size(), 14u);
        sink.frames.clear();
        vif.disconnect();
        expect_nothing_held();
    }
}

} // namespace
