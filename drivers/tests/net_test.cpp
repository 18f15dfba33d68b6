// SPDX-License-Identifier: BSD-2-Clause
// Packets: slots from hostile guests, checksums, segmentation; the switch and its table.
#include "host_guest.hpp"
#include "netif/packet_slots.hpp"
#include "switch/switch.hpp"
#include "switch/table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

using namespace drivers;
using netif::PacketSlots;

namespace {

cero_netif_tx_entry slot(std::uint16_t size, unsigned flags, std::uint16_t offset = 0) {
    cero_netif_tx_entry entry{};
    entry.request = {1, offset, static_cast<std::uint16_t>(flags), 9, size};
    return entry;
}
cero_netif_tx_entry extra(std::uint8_t type, std::uint16_t size, std::uint8_t gso_type,
                          bool more = false) {
    cero_netif_tx_entry entry{};
    cero_netif_extra_info info{};
    info.type = type;
    info.flags = more ? CERO_NETIF_EXTRA_FLAG_MORE : 0;
    info.u.gso.size = size;
    info.u.gso.type = gso_type;
    std::memcpy(&entry, &info, sizeof info);
    return entry;
}

TEST(PacketSlots, FirstSlotHoldsTheRest) {
    PacketSlots slots;
    EXPECT_EQ(slots.add(slot(3000, CERO_NETTXF_more_data)), PacketSlots::State::more);
    EXPECT_EQ(slots.add(slot(1000, CERO_NETTXF_more_data)), PacketSlots::State::more);
    EXPECT_EQ(slots.add(slot(500, 0)), PacketSlots::State::good);
    EXPECT_EQ(slots.slot(0).size, 1500);
    EXPECT_EQ(slots.slot(1).size, 1000);
    EXPECT_EQ(slots.size(), 3000u);
    EXPECT_EQ(slots.answer_count(), 3u);
}

TEST(PacketSlots, GsoExtraComesAfterTheFirstSlot) {
    PacketSlots slots;
    EXPECT_EQ(slots.add(slot(8000, CERO_NETTXF_more_data | CERO_NETTXF_extra_info)),
              PacketSlots::State::more);
    EXPECT_EQ(slots.add(extra(CERO_NETIF_EXTRA_TYPE_GSO, 1448, CERO_NETIF_GSO_TYPE_TCPV4)),
              PacketSlots::State::more);
    EXPECT_EQ(slots.add(slot(4096, 0)), PacketSlots::State::good);
    EXPECT_EQ(slots.gso(), Gso::tcp4);
    EXPECT_EQ(slots.gso_size(), 1448);
    EXPECT_TRUE(slots.answer(1).is_extra);
}

TEST(PacketSlots, BadSizesAreBad) {
    PacketSlots slots;
    EXPECT_EQ(slots.add(slot(13, 0)), PacketSlots::State::bad) << "runt";
    slots.restart();
    EXPECT_EQ(slots.add(slot(100, 0, 4090)), PacketSlots::State::bad) << "leaves its page";
    slots.restart();
    EXPECT_EQ(slots.add(slot(100, CERO_NETTXF_more_data)), PacketSlots::State::more);
    EXPECT_EQ(slots.add(slot(100, 0)), PacketSlots::State::bad)
        << "nothing left for the first slot";
    slots.restart();
    EXPECT_EQ(slots.add(slot(5000, 0)), PacketSlots::State::bad) << "more than a page";
    slots.restart();
    EXPECT_EQ(slots.add(slot(100, CERO_NETTXF_extra_info)), PacketSlots::State::more);
    EXPECT_EQ(slots.add(extra(CERO_NETIF_EXTRA_TYPE_GSO, 0, CERO_NETIF_GSO_TYPE_TCPV4)),
              PacketSlots::State::bad);
}

TEST(PacketSlots, TooManySlotsAreBadThenFatal) {
    PacketSlots slots;
    for (unsigned i = 0; i < netif::max_slots; ++i)
        ASSERT_EQ(slots.add(slot(i == 0 ? 60000 : 10, CERO_NETTXF_more_data)),
                  PacketSlots::State::more);
    EXPECT_EQ(slots.add(slot(10, 0)), PacketSlots::State::bad);
    slots.restart();
    PacketSlots::State state = PacketSlots::State::more;
    for (unsigned i = 0; i < 200 && state == PacketSlots::State::more; ++i)
        state = slots.add(slot(100, CERO_NETTXF_more_data));
    EXPECT_EQ(state, PacketSlots::State::fatal);
    slots.restart();
    state = slots.add(slot(100, CERO_NETTXF_extra_info));
    for (unsigned i = 0; i < 200 && state == PacketSlots::State::more; ++i)
        state = slots.add(extra(7, 0, 0, true));
    EXPECT_EQ(state, PacketSlots::State::fatal);
}

TEST(PacketSlots, RandomSlotsEndAndStayInBounds) {
    std::mt19937 random{5};
    for (int i = 0; i < 100000; ++i) {
        PacketSlots slots;
        PacketSlots::State state = PacketSlots::State::more;
        for (unsigned n = 0; state == PacketSlots::State::more; ++n) {
            ASSERT_LT(n, 64u);
            cero_netif_tx_entry entry{};
            entry.request = {
                static_cast<cero_grant_ref>(random()), static_cast<std::uint16_t>(random() % 5000),
                static_cast<std::uint16_t>(random() & 15), static_cast<std::uint16_t>(random()),
                static_cast<std::uint16_t>(random() % 6000)};
            state = slots.add(entry);
        }
        if (state != PacketSlots::State::good)
            continue;
        std::size_t sum = 0;
        for (unsigned s = 0; s < slots.slot_count(); ++s) {
            ASSERT_LE(slots.slot(s).offset + slots.slot(s).size, 4096u);
            sum += slots.slot(s).size;
        }
        ASSERT_EQ(sum, slots.size());
    }
}

/// An IPv4 TCP frame with a pseudo-header sum in its checksum field.
std::vector<std::uint8_t> tcp_frame(std::size_t payload) {
    std::vector<std::uint8_t> frame(54 + payload);
    frame[12] = 8;
    std::uint8_t* ip = frame.data() + 14;
    ip[0] = 0x45;
    const std::size_t total = 40 + payload;
    ip[2] = static_cast<std::uint8_t>(total >> 8);
    ip[3] = static_cast<std::uint8_t>(total);
    ip[8] = 64;
    ip[9] = 6;
    const std::uint8_t addresses[8] = {10, 0, 0, 1, 10, 0, 0, 2};
    std::memcpy(ip + 12, addresses, 8);
    std::uint8_t* tcp = ip + 20;
    tcp[7] = 100;
    tcp[12] = 0x50;
    tcp[13] = 0x18;
    for (std::size_t i = 0; i < payload; ++i)
        tcp[20 + i] = static_cast<std::uint8_t>(i * 7);
    std::uint32_t sum = 6 + static_cast<std::uint32_t>(20 + payload);
    for (std::size_t i = 0; i < 8; i += 2)
        sum += static_cast<std::uint32_t>(addresses[i] << 8 | addresses[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    tcp[16] = static_cast<std::uint8_t>(sum >> 8);
    tcp[17] = static_cast<std::uint8_t>(sum);
    return frame;
}

/// True when the L4 checksum of the whole IPv4 TCP frame is right.
bool verifies(const std::vector<std::uint8_t>& frame) {
    const std::size_t total = static_cast<std::size_t>(frame[16] << 8 | frame[17]);
    std::uint32_t sum = 6 + static_cast<std::uint32_t>(total - 20);
    for (std::size_t i = 26; i < 14 + total; i += 2)
        sum += static_cast<std::uint32_t>(frame[i] << 8 | (i + 1 < 14 + total ? frame[i + 1] : 0));
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum == 0xffff;
}

std::vector<std::uint8_t> bytes_of(const PacketBuffer& packet) {
    std::vector<std::uint8_t> bytes(packet.length());
    packet.copy_out(0, bytes.data(), bytes.size());
    return bytes;
}

TEST(Offload, CompletesPartialChecksums) {
    for (const std::size_t payload : {0, 1, 2, 100, 1459, 1460, 5001}) {
        const auto frame = tcp_frame(payload);
        PacketBuffer* packet = PacketBuffer::allocate();
        ASSERT_TRUE(packet->append(frame.data(), frame.size()));
        ASSERT_TRUE(locate_checksum(*packet));
        EXPECT_EQ(packet->checksum_start, 34);
        EXPECT_EQ(packet->checksum_offset, 16);
        ASSERT_TRUE(complete_checksum(*packet));
        EXPECT_TRUE(verifies(bytes_of(*packet))) << payload;
        packet->release();
    }
}

TEST(Offload, SegmentsCarryAllBytesOnce) {
    const std::size_t payload = 20000;
    const auto frame = tcp_frame(payload);
    PacketBuffer* packet = PacketBuffer::allocate();
    ASSERT_TRUE(packet->append(frame.data(), frame.size()));
    ASSERT_TRUE(locate_checksum(*packet));
    packet->gso = Gso::tcp4;
    packet->gso_size = 1448;
    PacketList out;
    adapt_packet(*packet, NetFeatures{}, out);
    std::vector<std::uint8_t> joined;
    unsigned count = 0;
    while (PacketBuffer* segment = out.pop_front()) {
        const auto bytes = bytes_of(*segment);
        EXPECT_TRUE(verifies(bytes));
        const std::uint32_t sequence = static_cast<std::uint32_t>(
            bytes[38] << 24 | bytes[39] << 16 | bytes[40] << 8 | bytes[41]);
        EXPECT_EQ(sequence, 100u + joined.size());
        joined.insert(joined.end(), bytes.begin() + 54, bytes.end());
        ++count;
        const bool last = joined.size() == payload;
        EXPECT_EQ((bytes[47] & 8) != 0, last) << "PSH belongs to the last segment";
        segment->release();
    }
    EXPECT_EQ(count, (payload + 1447) / 1448);
    EXPECT_TRUE(std::equal(joined.begin(), joined.end(), frame.begin() + 54, frame.end()));
}

TEST(Offload, GarbageIsDroppedNotRead) {
    std::mt19937 random{9};
    for (int i = 0; i < 20000; ++i) {
        auto frame = tcp_frame(random() % 3000);
        frame.resize(random() % frame.size() + 1);
        for (int n = 0; n < 4; ++n)
            frame[random() % frame.size()] = static_cast<std::uint8_t>(random());
        PacketBuffer* packet = PacketBuffer::allocate();
        ASSERT_TRUE(packet->append(frame.data(), frame.size()));
        if (locate_checksum(*packet) && (random() & 1) != 0) {
            packet->gso = Gso::tcp4;
            packet->gso_size = static_cast<std::uint16_t>(random() % 2000);
        }
        PacketList out;
        adapt_packet(*packet, NetFeatures{}, out);
        while (PacketBuffer* result = out.pop_front())
            result->release();
    }
}

MacAddress mac(unsigned number) {
    return MacAddress{{2, 0, 0, static_cast<std::uint8_t>(number >> 16),
                       static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)}};
}

TEST(ForwardingTable, LearnsMovesAndAges) {
    ForwardingTable table;
    EXPECT_TRUE(table.learn(mac(1), 3, 0, 0));
    EXPECT_EQ(table.lookup(mac(1), 100), 3);
    EXPECT_TRUE(table.learn(mac(1), 4, 100, 0));
    EXPECT_EQ(table.lookup(mac(1), 100), 4);
    EXPECT_EQ(table.lookup(mac(1), 100 + ForwardingTable::max_age + 1), ForwardingTable::no_port);
    EXPECT_EQ(table.lookup(mac(2), 0), ForwardingTable::no_port);
    EXPECT_TRUE(table.learn(MacAddress{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, 4, 0, 0));
    EXPECT_EQ(table.lookup(MacAddress{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, 0),
              ForwardingTable::no_port);
    table.forget_port(4);
    EXPECT_EQ(table.lookup(mac(1), 100), ForwardingTable::no_port);
    EXPECT_EQ(table.entries_of(4), 0u);
}

TEST(ForwardingTable, AFloodingGuestPushesNobodyOut) {
    ForwardingTable table;
    for (unsigned i = 0; i < 100; ++i)
        EXPECT_TRUE(table.learn(mac(i), static_cast<ForwardingTable::Port>(1 + i % 4), 10, 0));
    unsigned known = 0;
    for (unsigned i = 0; i < 100; ++i)
        known += table.lookup(mac(i), 10) != ForwardingTable::no_port;
    for (unsigned i = 0; i < 100000; ++i)
        EXPECT_TRUE(table.learn(mac(1000 + i), 9, 10, 64));
    EXPECT_LE(table.entries_of(9), 64u);
    unsigned still = 0;
    for (unsigned i = 0; i < 100; ++i)
        still += table.lookup(mac(i), 10) != ForwardingTable::no_port;
    EXPECT_EQ(still, known);
}

TEST(ForwardingTable, AGuestTakesNoAddressThatAnotherPortUses) {
    constexpr std::uint64_t later = ForwardingTable::max_age + 1;
    ForwardingTable table;
    EXPECT_TRUE(table.learn(mac(1), 0, 0, 0));  // the gateway, behind an uplink
    EXPECT_TRUE(table.learn(mac(2), 1, 0, 64)); // a neighbour
    EXPECT_FALSE(table.learn(mac(1), 2, 1, 64));
    EXPECT_FALSE(table.learn(mac(2), 2, 1, 64));
    EXPECT_EQ(table.lookup(mac(1), 1), 0);
    EXPECT_EQ(table.lookup(mac(2), 1), 1);
    EXPECT_EQ(table.entries_of(2), 0u);
    EXPECT_TRUE(table.learn(mac(2), 0, 1, 0)); // it was moved to another machine
    EXPECT_EQ(table.lookup(mac(2), 1), 0);
    EXPECT_TRUE(table.learn(mac(2), 2, 1 + later, 64)); // nobody has used it for long
    EXPECT_EQ(table.lookup(mac(2), 1 + later), 2);
    table.forget_port(2); // the guest is created again
    EXPECT_TRUE(table.learn(mac(2), 3, 1 + later, 64));
    EXPECT_EQ(table.lookup(mac(2), 1 + later), 3);
}

TEST(ForwardingTable, AgedAddressesCountForTheQuotaOfWhoTakesThem) {
    ForwardingTable table;
    for (unsigned i = 0; i < 200; ++i)
        EXPECT_TRUE(table.learn(mac(i), 1, 0, 0));
    for (unsigned i = 0; i < 200; ++i)
        EXPECT_TRUE(table.learn(mac(i), 2, ForwardingTable::max_age + 1, 64));
    EXPECT_EQ(table.entries_of(2), 64u);
}

TEST(ForwardingTable, AssignedAddressesAreSafeWhileTheirPortIsSilent) {
    ForwardingTable table;
    EXPECT_TRUE(table.learn(mac(1), 9, 0, 64)); // before the owner is there
    table.assign(mac(1), 1);
    EXPECT_EQ(table.lookup(mac(1), 0), 1);
    EXPECT_EQ(table.entries_of(9), 0u);
    EXPECT_FALSE(table.learn(mac(1), 9, 0, 64));
    EXPECT_FALSE(table.learn(mac(1), 0, 0, 0)); // nor by an uplink
    EXPECT_EQ(table.lookup(mac(1), 0), 1);
    for (unsigned i = 2; i < 100000; ++i) // fill its bucket, and its own quota
        EXPECT_TRUE(table.learn(mac(i), 9, 0, 64));
    for (unsigned i = 0; i < 64; ++i)
        EXPECT_TRUE(table.learn(mac(200000 + i), 1, 0, 64));
    EXPECT_TRUE(table.learn(mac(1), 1, 0, 64));
    EXPECT_EQ(table.lookup(mac(1), 0), 1);
    table.forget_port(1);
    EXPECT_EQ(table.lookup(mac(1), 0), ForwardingTable::no_port);
    EXPECT_TRUE(table.learn(mac(1), 9, ForwardingTable::max_age + 1, 64));
}

TEST(ForwardingTable, AnAddressAssignedTwiceMoves) {
    ForwardingTable table;
    table.assign(mac(1), 1); // a domain that has crashed and is kept
    EXPECT_TRUE(table.learn(mac(1), 1, 0, 64));
    table.assign(mac(1), 2); // the one started in its place
    EXPECT_EQ(table.lookup(mac(1), 0), ForwardingTable::no_port);
    EXPECT_TRUE(table.learn(mac(1), 2, 0, 64));
    EXPECT_EQ(table.lookup(mac(1), 0), 2);
    table.forget_port(1);
    EXPECT_EQ(table.lookup(mac(1), 0), 2);
}

TEST(MacAddress, TextIsParsedWhollyOrNotAtAll) {
    MacAddress parsed;
    EXPECT_TRUE(parse_mac("00:16:3e:Ab:cD:09", parsed));
    EXPECT_EQ(parsed, (MacAddress{{0x00, 0x16, 0x3e, 0xab, 0xcd, 0x09}}));
    for (const char* text : {"", "00", "00:16:3e:ab:cd", "00:16:3e:ab:cd:9", "00:16:3e:ab:cd:09 ",
                             "00-16-3e-ab-cd-09", "00:16:3e:ab:cd:0g"})
        EXPECT_FALSE(parse_mac(text, parsed)) << text;
}

/// A device on the switch: counts what it is sent, by the sources' last byte.
struct Station final : NetDevice {
    explicit Station(const char* name) { set_name(name); }
    std::vector<unsigned> sources;
    SwitchPort port;
    void transmit(PacketList& packets) noexcept override {
        while (PacketBuffer* packet = packets.pop_front()) {
            MacAddress addresses[2];
            packet->copy_out(0, addresses, sizeof addresses);
            sources.push_back(addresses[1].byte[5]);
            packet->release();
        }
    }
    void send(const MacAddress& to, const MacAddress& from) {
        std::uint8_t frame[60]{};
        std::copy_n(to.byte, 6, frame);
        std::copy_n(from.byte, 6, frame + 6);
        PacketBuffer* packet = PacketBuffer::allocate();
        ASSERT_NE(packet, nullptr);
        ASSERT_TRUE(packet->append(frame, sizeof frame));
        PacketList list;
        list.push_back(*packet);
        deliver(list);
        EXPECT_TRUE(list.empty());
    }
};

class SwitchTest : public ::testing::Test {
protected:
    SwitchTest() {
        EXPECT_TRUE(bridge.connect(dom0.port, dom0, PortKind::host));
        EXPECT_TRUE(bridge.connect(uplink.port, uplink, PortKind::uplink));
        EXPECT_TRUE(bridge.connect(guest.port, guest, PortKind::guest));
        EXPECT_TRUE(bridge.connect(rogue.port, rogue, PortKind::guest));
        bridge.assign(dom0.port, mac(1));
        bridge.assign(guest.port, mac(3));
        bridge.assign(rogue.port, mac(4));
    }
    Switch bridge{"test"}; // outlives its ports
    Station dom0{"host"}, uplink{"eth0"}, guest{"guest"}, rogue{"rogue"};
};

TEST_F(SwitchTest, FramesReachWhomTheyAreFor) {
    guest.send(mac(1), mac(3)); // before the host has sent anything
    EXPECT_EQ(dom0.sources, std::vector<unsigned>{3});
    dom0.send(mac(3), mac(1));
    EXPECT_EQ(guest.sources, std::vector<unsigned>{1});
    EXPECT_TRUE(uplink.sources.empty());
    EXPECT_TRUE(rogue.sources.empty());
}

TEST_F(SwitchTest, AGuestIsNobodyElse) {
    host::log_lines.clear();
    uplink.send(mac(1), mac(2)); // the gateway is heard of
    dom0.sources.clear();
    for (const unsigned victim : {1u, 2u, 3u})
        rogue.send(mac(4), mac(victim)); // to itself: only to be learnt
    rogue.send(mac(0xff), mac(1));       // flooded
    for (unsigned i = 0; i < 100; ++i)
        rogue.send(mac(4), mac(1));
    EXPECT_EQ(rogue.port.forged(), 104u);
    ASSERT_EQ(host::log_lines.size(), kernel::LogLimiter::burst);
    EXPECT_EQ(host::log_lines[0], "test: rogue uses 02:00:00:00:00:01, which belongs to another "
                                  "port; the frame is dropped\n");
    EXPECT_TRUE(dom0.sources.empty());
    EXPECT_TRUE(uplink.sources.empty());
    guest.send(mac(1), mac(3));
    guest.send(mac(2), mac(3));
    uplink.send(mac(3), mac(2));
    EXPECT_EQ(dom0.sources, std::vector<unsigned>{3});
    EXPECT_EQ(uplink.sources, std::vector<unsigned>{3});
    EXPECT_EQ(guest.sources, std::vector<unsigned>{2});
    EXPECT_TRUE(rogue.sources.empty());
}

TEST_F(SwitchTest, TheHostsAddressComesFromNoWire) {
    uplink.send(mac(3), mac(1));
    EXPECT_EQ(uplink.port.forged(), 1u);
    EXPECT_TRUE(guest.sources.empty());
    guest.send(mac(1), mac(3));
    EXPECT_EQ(dom0.sources, std::vector<unsigned>{3});
}

TEST_F(SwitchTest, AGuestCreatedAgainHasItsAddressAtOnce) {
    uplink.send(mac(3), mac(2));
    guest.send(mac(2), mac(3));
    Station again{"again"};
    ASSERT_TRUE(bridge.connect(again.port, again, PortKind::guest));
    bridge.assign(again.port, mac(3));
    again.send(mac(2), mac(3)); // while the old port is still there
    EXPECT_EQ(again.port.forged(), 0u);
    guest.port.disconnect();
    uplink.send(mac(3), mac(2));
    EXPECT_EQ(again.sources, std::vector<unsigned>{2});
}

} // namespace
