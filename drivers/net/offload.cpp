// SPDX-License-Identifier: BSD-2-Clause
// What NICs do in hardware, done in software for devices and guests that cannot: checksums and
// segmentation.
//
// Frames come from guests: every header field is checked against the bytes that are there.
#include <cero/driver/net.hpp>

#include <cstring>

namespace drivers {

namespace {

constexpr std::size_t ethernet_size = 14;
constexpr std::uint16_t type_ipv4 = 0x0800;
constexpr std::uint16_t type_ipv6 = 0x86dd;
constexpr std::uint16_t type_vlan = 0x8100;
constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::size_t max_header = 14 + 4 + 60 + 60;
constexpr std::uint8_t tcp_fin = 0x01;
constexpr std::uint8_t tcp_psh = 0x08;

std::uint16_t load16(const std::uint8_t* at) noexcept {
    return static_cast<std::uint16_t>(at[0] << 8 | at[1]);
}
std::uint32_t load32(const std::uint8_t* at) noexcept {
    return std::uint32_t{load16(at)} << 16 | load16(at + 2);
}
void store16(std::uint8_t* at, std::uint32_t value) noexcept {
    at[0] = static_cast<std::uint8_t>(value >> 8);
    at[1] = static_cast<std::uint8_t>(value);
}
void store32(std::uint8_t* at, std::uint32_t value) noexcept {
    store16(at, value >> 16);
    store16(at + 2, value & 0xffff);
}

/// One's complement sum of bytes, `odd` telling whether the first is a low byte.
std::uint64_t sum_bytes(const std::uint8_t* data, std::size_t size, bool odd,
                        std::uint64_t sum) noexcept {
    if (odd && size != 0) {
        sum += *data++;
        --size;
    }
    // Big-endian 16-bit words; four bytes at a time through a wide accumulator.
    while (size >= 4) {
        std::uint32_t word;
        std::memcpy(&word, data, 4);
        sum += __builtin_bswap32(word);
        data += 4;
        size -= 4;
    }
    if (size >= 2) {
        sum += std::uint64_t{load16(data)};
        data += 2;
        size -= 2;
    }
    if (size != 0)
        sum += std::uint64_t{*data} << 8;
    return sum;
}

std::uint16_t fold(std::uint64_t sum) noexcept {
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

/// Sum over the packet from `offset` to its end.
std::uint64_t sum_packet(const PacketBuffer& packet, std::size_t offset) noexcept {
    std::uint64_t sum = 0;
    bool odd = false;
    for (unsigned i = 0; i < packet.fragment_count; ++i) {
        const PacketFragment& fragment = packet.fragments[i];
        if (offset >= fragment.length) {
            offset -= fragment.length;
            continue;
        }
        const std::size_t size = fragment.length - offset;
        const auto* data = reinterpret_cast<const std::uint8_t*>(fragment.data) + offset;
        // Words may straddle fragments, and fold() keeps sums small only at the end: fold as we go.
        sum = fold(sum_bytes(data, size, odd, sum));
        odd ^= (size & 1) != 0;
        offset = 0;
    }
    return sum;
}

/// Where the headers of a frame are.
struct Headers {
    std::uint8_t bytes[max_header]{};
    std::size_t network{};   ///< offset of the IP header
    std::size_t transport{}; ///< offset of the L4 header
    std::uint8_t protocol{};
    bool ipv6{};
};

/// Parses Ethernet, one VLAN tag, IP without extension headers. False: not a whole such frame.
bool parse(const PacketBuffer& packet, Headers& headers) noexcept {
    const std::size_t there = packet.copy_out(0, headers.bytes, sizeof headers.bytes);
    const std::uint8_t* bytes = headers.bytes;
    if (there < ethernet_size)
        return false;
    std::uint16_t type = load16(bytes + 12);
    headers.network = ethernet_size;
    if (type == type_vlan) {
        headers.network += 4;
        if (there < headers.network)
            return false;
        type = load16(bytes + 16);
    }
    if (type == type_ipv4) {
        if (there < headers.network + 20)
            return false;
        const std::size_t size = (bytes[headers.network] & 15u) * 4;
        headers.transport = headers.network + size;
        headers.protocol = bytes[headers.network + 9];
        const bool is_fragment = (load16(bytes + headers.network + 6) & 0x3fff) != 0;
        return size >= 20 && bytes[headers.network] >> 4 == 4 && !is_fragment &&
               there >= headers.transport + 8;
    }
    if (type == type_ipv6) {
        headers.ipv6 = true;
        headers.transport = headers.network + 40;
        if (there < headers.transport + 8)
            return false;
        headers.protocol = bytes[headers.network + 6];
        return true;
    }
    return false;
}

/// Sum of the pseudo header for `length` bytes of L4.
std::uint64_t pseudo_sum(const Headers& headers, std::size_t length) noexcept {
    const std::uint8_t* network = headers.bytes + headers.network;
    std::uint64_t sum =
        headers.ipv6 ? sum_bytes(network + 8, 32, false, 0) : sum_bytes(network + 12, 8, false, 0);
    sum += length >> 16;
    sum += length & 0xffff;
    return sum + headers.protocol;
}

/// Writes bytes into a packet; false when they are not inside it.
bool patch(PacketBuffer& packet, std::size_t offset, const std::uint8_t* bytes,
           std::size_t size) noexcept {
    std::size_t done = 0;
    for (unsigned i = 0; i < packet.fragment_count && done < size; ++i) {
        PacketFragment& fragment = packet.fragments[i];
        if (offset >= fragment.length) {
            offset -= fragment.length;
            continue;
        }
        const std::size_t there = fragment.length - offset;
        const std::size_t count = there < size - done ? there : size - done;
        std::memcpy(fragment.data + offset, bytes + done, count);
        done += count;
        offset = 0;
    }
    return done == size;
}

} // namespace

bool locate_checksum(PacketBuffer& packet) noexcept {
    Headers headers;
    if (!parse(packet, headers))
        return false;
    std::size_t field;
    if (headers.protocol == protocol_tcp)
        field = 16;
    else if (headers.protocol == protocol_udp)
        field = 6;
    else
        return false;
    if (packet.length() < headers.transport + field + 2)
        return false;
    packet.checksum_start = static_cast<std::uint16_t>(headers.transport);
    packet.checksum_offset = static_cast<std::uint16_t>(field);
    packet.checksum = Checksum::partial;
    return true;
}

std::uint32_t flow_hash(const PacketBuffer& packet) noexcept {
    Headers headers;
    // A fragment does not parse, so all of a datagram's go by its addresses alone: in order.
    if (!parse(packet, headers))
        return 0;
    const std::uint8_t* address = headers.bytes + headers.network + (headers.ipv6 ? 8 : 12);
    const std::size_t addresses = headers.ipv6 ? 32 : 8;
    std::uint32_t hash = headers.protocol;
    for (std::size_t i = 0; i < addresses; i += 4)
        hash = (hash ^ load32(address + i)) * 0x9e3779b1u;
    if (headers.protocol == protocol_tcp || headers.protocol == protocol_udp)
        hash = (hash ^ load32(headers.bytes + headers.transport)) * 0x9e3779b1u;
    // Bring what the multiplications moved upwards down to the bits that choose.
    hash = (hash ^ hash >> 15) * 0x85ebca6bu;
    return hash ^ hash >> 16;
}

bool complete_checksum(PacketBuffer& packet) noexcept {
    if (packet.checksum != Checksum::partial)
        return true;
    const std::size_t start = packet.checksum_start;
    const std::size_t field = start + packet.checksum_offset;
    if (field + 2 > packet.length())
        return false;
    // The field holds the pseudo header's sum, so summing everything gives the whole checksum.
    std::uint16_t result = static_cast<std::uint16_t>(~fold(sum_packet(packet, start)));
    Headers headers;
    if (result == 0 && parse(packet, headers) && headers.protocol == protocol_udp)
        result = 0xffff; // zero means "no checksum" in UDP
    std::uint8_t bytes[2];
    store16(bytes, result);
    packet.checksum = Checksum::verified;
    return patch(packet, field, bytes, 2);
}

void segment_packet(PacketBuffer& packet, PacketList& segments) noexcept {
    Headers headers;
    const std::size_t total = packet.length();
    const bool good = parse(packet, headers) && headers.protocol == protocol_tcp &&
                      packet.gso_size != 0 && headers.transport + 20 <= sizeof headers.bytes;
    const std::size_t header_size =
        good ? headers.transport + (headers.bytes[headers.transport + 12] >> 4) * std::size_t{4}
             : 0;
    if (!good || header_size < headers.transport + 20 || header_size > total) {
        packet.release();
        return;
    }
    std::uint8_t* const tcp = headers.bytes + headers.transport;
    std::uint8_t* const network = headers.bytes + headers.network;
    const std::uint32_t sequence = load32(tcp + 4);
    const std::uint16_t identification = load16(network + 4);
    const std::uint8_t flags = tcp[13];
    std::uint32_t index = 0;
    for (std::size_t offset = header_size; offset < total; ++index) {
        const std::size_t left = total - offset;
        const std::size_t payload = left < packet.gso_size ? left : packet.gso_size;
        PacketBuffer* segment = PacketBuffer::allocate();
        if (segment == nullptr)
            break;
        store32(tcp + 4, sequence + static_cast<std::uint32_t>(offset - header_size));
        tcp[13] = offset + payload == total
                      ? flags
                      : static_cast<std::uint8_t>(flags & ~(tcp_fin | tcp_psh));
        const std::size_t tcp_length = header_size - headers.transport + payload;
        if (headers.ipv6) {
            store16(network + 4, static_cast<std::uint32_t>(tcp_length));
        } else {
            store16(network + 2,
                    static_cast<std::uint32_t>(header_size - headers.network + payload));
            store16(network + 4, identification + index);
            store16(network + 10, 0);
            store16(network + 10, static_cast<std::uint16_t>(~fold(sum_bytes(
                                      network, headers.transport - headers.network, false, 0))));
        }
        store16(tcp + 16, fold(pseudo_sum(headers, tcp_length)));
        segment->checksum = Checksum::partial;
        segment->checksum_start = static_cast<std::uint16_t>(headers.transport);
        segment->checksum_offset = 16;
        bool built = segment->append(headers.bytes, header_size).has_value();
        PacketFragment& inline_part = segment->fragments[0];
        const std::size_t room =
            PacketBuffer::inline_size - PacketBuffer::default_headroom - header_size;
        const std::size_t near = payload < room ? payload : room;
        packet.copy_out(offset, inline_part.data + header_size, near);
        inline_part.length += static_cast<std::uint32_t>(near);
        for (std::size_t done = near; built && done < payload;) {
            const std::size_t count = payload - done < 4096 ? payload - done : 4096;
            std::byte* page = segment->append_page(count);
            built = page != nullptr;
            if (built)
                done += packet.copy_out(offset + done, page, count);
        }
        if (!built) {
            segment->release();
            break;
        }
        segments.push_back(*segment);
        offset += payload;
    }
    packet.release();
}

void adapt_packet(PacketBuffer& packet, const NetFeatures& features, PacketList& out) noexcept {
    if ((packet.gso == Gso::tcp4 && !features.tso4) ||
        (packet.gso == Gso::tcp6 && !features.tso6)) {
        PacketList segments;
        segment_packet(packet, segments);
        while (PacketBuffer* segment = segments.pop_front())
            adapt_packet(*segment, features, out);
        return;
    }
    PacketBuffer* result = &packet;
    const bool too_scattered = result->fragment_count > 1 && !features.scatter_gather;
    const bool needs_checksum = result->checksum == Checksum::partial && !features.tx_checksum;
    if (too_scattered || (needs_checksum && result->is_shared())) {
        result = packet.clone();
        packet.release();
        if (result == nullptr)
            return;
    }
    if (needs_checksum && !complete_checksum(*result)) {
        result->release();
        return;
    }
    out.push_back(*result);
}

} // namespace drivers
