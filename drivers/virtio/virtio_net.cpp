// SPDX-License-Identifier: BSD-2-Clause
// virtio-net: a NetDevice whose receive buffers are packet buffers, and whose transmit ring needs
// no interrupts.
#include "transport.hpp"

#include "../net/packet_queue.hpp"

#include <cero/driver/net.hpp>
#include <cero/lib/format.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>
#include <kernel/sync.hpp>

#include <cstring>
#include <new>

namespace drivers::virtio {

namespace {

constexpr std::uint16_t device_type_net = 1;

constexpr std::uint64_t feature_tx_checksum = 1ull << 0;
constexpr std::uint64_t feature_rx_checksum = 1ull << 1;
constexpr std::uint64_t feature_mac = 1ull << 5;
constexpr std::uint64_t feature_tso4 = 1ull << 11;
constexpr std::uint64_t feature_tso6 = 1ull << 12;
constexpr std::uint64_t feature_merge_rx = 1ull << 15;
constexpr std::uint64_t feature_status = 1ull << 16;

constexpr unsigned queue_rx = 0;
constexpr unsigned queue_tx = 1;
constexpr unsigned tx_queue_limit = 2048; ///< pages of packets waiting for room on the ring

constexpr std::uint8_t header_needs_checksum = 1;
constexpr std::uint8_t header_data_valid = 2;
constexpr std::uint8_t header_gso_tcp4 = 1;
constexpr std::uint8_t header_gso_tcp6 = 4;

/// In front of every packet, in both directions.
struct Header {
    std::uint8_t flags;
    std::uint8_t gso_type;
    std::uint16_t header_length;
    std::uint16_t gso_size;
    std::uint16_t checksum_start;
    std::uint16_t checksum_offset;
    std::uint16_t buffer_count;
};
static_assert(sizeof(Header) == 12);
static_assert(sizeof(Header) <= PacketBuffer::default_headroom);

class VirtioNet final : public NetDevice {
public:
    VirtioNet(PciDevice& pci, const char* name) noexcept : transport_{pci} { set_name(name); }

    Status setup() {
        TRY(transport_.negotiate(feature_tx_checksum | feature_rx_checksum | feature_mac |
                                 feature_tso4 | feature_tso6 | feature_merge_rx | feature_status |
                                 feature_event_index));
        features_.scatter_gather = true;
        features_.tx_checksum = transport_.has(feature_tx_checksum);
        features_.tso4 = features_.tx_checksum && transport_.has(feature_tso4);
        features_.tso6 = features_.tx_checksum && transport_.has(feature_tso6);
        mac_ = transport_.has(feature_mac) ? transport_.config<MacAddress>(0)
                                           : MacAddress{{0x02, 0x00, 0x00, 0xce, 0x60, 0x02}};
        const InterruptHandler handlers[] = {rx_interrupt, tx_interrupt};
        void* const arguments[] = {this, this};
        TRY(transport_.setup_interrupts(2, handlers, arguments));
        TRY(transport_.setup_queue(queue_rx, rx_));
        TRY(transport_.setup_queue(queue_tx, tx_));
        transport_.start();
        tx_.ring.disable_interrupts();
        kernel::SpinGuard guard{lock_};
        refill();
        static_cast<void>(rx_.ring.enable_interrupts());
        link_up_ = true;
        return {};
    }

    void transmit(PacketList& packets) noexcept override {
        kernel::SpinGuard guard{lock_};
        while (PacketBuffer* packet = packets.pop_front()) {
            if (can_ever_send(*packet) && waiting_.push(*packet))
                continue;
            ++statistics_.tx_dropped;
            packet->release();
        }
        send_waiting();
    }

private:
    static constexpr std::size_t max_packet = 65535 + 18;
    static constexpr std::size_t rx_offset = PacketBuffer::default_headroom - sizeof(Header);

    static void tx_interrupt(void* argument) {
        auto& self = *static_cast<VirtioNet*>(argument);
        kernel::SpinGuard guard{self.lock_};
        self.send_waiting();
    }
    static void rx_interrupt(void* argument) {
        static_cast<VirtioNet*>(argument)->receive_finished();
    }

    static bool can_ever_send(const PacketBuffer& packet) noexcept {
        return packet.fragment_count != 0 && packet.fragments[0].page == nullptr &&
               packet.headroom() >= sizeof(Header) && packet.length() <= max_packet;
    }

    /// Puts what fits on the ring. Interrupts stay off unless something has to wait for room.
    void send_waiting() noexcept {
        do {
            reclaim();
            while (PacketBuffer* packet = waiting_.front()) {
                const std::size_t size = packet->length();
                if (!send(*packet))
                    break;
                waiting_.pop();
                ++statistics_.tx_packets;
                statistics_.tx_bytes += size;
            }
            if (tx_.ring.publish())
                tx_.notify();
            if (waiting_.empty())
                return tx_.ring.disable_interrupts();
        } while (tx_.ring.enable_interrupts());
    }

    /// The header goes into the packet's headroom, so that the usual packet is one descriptor.
    bool send(PacketBuffer& packet) noexcept {
        Header header{};
        if (packet.checksum == Checksum::partial) {
            header.flags = header_needs_checksum;
            header.checksum_start = packet.checksum_start;
            header.checksum_offset = packet.checksum_offset;
        }
        if (packet.gso != Gso::none) {
            header.gso_type = packet.gso == Gso::tcp4 ? header_gso_tcp4 : header_gso_tcp6;
            header.gso_size = packet.gso_size;
            header.header_length = static_cast<std::uint16_t>(packet.checksum_start + 20);
        }
        PacketFragment& first = packet.fragments[0];
        std::memcpy(first.data - sizeof header, &header, sizeof header);
        Buffer buffers[PacketBuffer::max_fragments];
        for (unsigned i = 0; i < packet.fragment_count; ++i)
            buffers[i] = {kernel::virt_to_machine(packet.fragments[i].data),
                          packet.fragments[i].length};
        buffers[0].machine -= sizeof header;
        buffers[0].length += sizeof header;
        return tx_.ring.add(buffers, packet.fragment_count, nullptr, 0, &packet);
    }

    void reclaim() noexcept {
        std::uint32_t written;
        while (void* token = tx_.ring.take(written))
            static_cast<PacketBuffer*>(token)->release();
    }

    void refill() noexcept {
        while (rx_.ring.free_descriptors() != 0) {
            PacketBuffer* packet = PacketBuffer::allocate();
            if (packet == nullptr)
                break;
            const Buffer buffer{kernel::virt_to_machine(packet->inline_area()) + rx_offset,
                                PacketBuffer::inline_size - rx_offset};
            if (!rx_.ring.add(nullptr, 0, &buffer, 1, packet)) {
                packet->release();
                break;
            }
        }
        if (rx_.ring.publish())
            rx_.notify();
    }

    void receive_finished() noexcept {
        PacketList packets;
        {
            kernel::SpinGuard guard{lock_};
            do {
                std::uint32_t written;
                while (void* token = rx_.ring.take(written))
                    accept(*static_cast<PacketBuffer*>(token), written, packets);
                refill();
            } while (rx_.ring.enable_interrupts());
        }
        deliver(packets);
    }

    /// One used buffer: a packet, or the continuation of the one being merged.
    void accept(PacketBuffer& buffer, std::uint32_t written, PacketList& packets) noexcept {
        if (written > PacketBuffer::inline_size - rx_offset)
            written = PacketBuffer::inline_size - rx_offset;
        if (merge_left_ != 0) {
            buffer.set_inline(rx_offset, written);
            --merge_left_;
            if (merging_ == nullptr || merging_->fragment_count == PacketBuffer::max_fragments) {
                buffer.release();
                drop_merging();
            } else {
                merging_->absorb(buffer);
            }
            if (merge_left_ == 0 && merging_ != nullptr)
                finish(*merging_, packets);
            return;
        }
        if (written < sizeof(Header)) {
            buffer.release();
            return;
        }
        Header header;
        std::memcpy(&header, buffer.inline_area() + rx_offset, sizeof header);
        buffer.set_inline(PacketBuffer::default_headroom, written - sizeof header);
        buffer.checksum =
            (header.flags & header_data_valid) != 0 ? Checksum::verified : Checksum::complete;
        if ((header.flags & header_needs_checksum) != 0) {
            buffer.checksum = Checksum::partial;
            buffer.checksum_start = header.checksum_start;
            buffer.checksum_offset = header.checksum_offset;
        }
        merging_ = &buffer;
        merge_left_ = header.buffer_count > 1 ? header.buffer_count - 1u : 0;
        if (merge_left_ == 0)
            finish(buffer, packets);
    }
    void finish(PacketBuffer& packet, PacketList& packets) noexcept {
        merging_ = nullptr;
        ++statistics_.rx_packets;
        statistics_.rx_bytes += packet.length();
        packets.push_back(packet);
    }
    void drop_merging() noexcept {
        if (merging_ != nullptr)
            merging_->release();
        merging_ = nullptr;
    }

    Transport transport_;
    kernel::Spinlock lock_;
    Queue rx_;
    Queue tx_;
    PacketQueue waiting_{tx_queue_limit};
    PacketBuffer* merging_{};
    unsigned merge_left_{};
};

unsigned nic_count = 0;

Status probe(PciDevice& pci) {
    char name[NetDevice::name_size];
    cero::format_to(name, sizeof name, "nic%u", nic_count);
    auto* nic = new (std::nothrow) VirtioNet{pci, name};
    if (nic == nullptr)
        return Errno::nomem;
    TRY(nic->setup()); // on failure the object stays: the hypervisor may still know its memory
    ++nic_count;
    const std::uint8_t* mac = nic->mac().byte;
    kernel::printk(kernel::Level::info, "%s: %02x:%02x:%02x:%02x:%02x:%02x%s%s\n", name, mac[0],
                   mac[1], mac[2], mac[3], mac[4], mac[5],
                   nic->features().tx_checksum ? ", checksums" : "",
                   nic->features().tso4 ? ", TSO" : "");
    announce_nic(*nic);
    return {};
}

constinit PciDriver driver{"virtio-net",
                           [](const PciDevice& device) {
                               return device.vendor == pci_vendor &&
                                      device.product == pci_product_base + device_type_net;
                           },
                           probe,
                           {}};

void start_virtio_net() {
    register_pci_driver(driver);
}
CERO_INITCALL(subsys, start_virtio_net);

} // namespace

} // namespace drivers::virtio
