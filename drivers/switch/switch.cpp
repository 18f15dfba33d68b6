// SPDX-License-Identifier: BSD-2-Clause
// The learning switch, and dom0's instance of it: "xenbr0", with every NIC as uplink and a port for
// the host.
#include "switch.hpp"

#include <kernel/boot.hpp>
#include <kernel/initcall.hpp>
#include <kernel/log.hpp>
#include <kernel/time.hpp>

#include <cstring>
#include <new>

namespace drivers {

namespace {

constexpr std::size_t ethernet_header = 14;

/// The host's own interface on the switch: what it transmits enters the switch, what the switch
/// sends to it is received by the IP stack.
class HostPort final : public NetDevice {
public:
    HostPort() noexcept {
        set_name("xenbr0");
        features_ = {true, true, true, false}; // the switch adapts packets where a port needs it
    }
    void set_mac(const MacAddress& mac) noexcept { mac_ = mac; }
    void set_link_up() noexcept { set_link(true); }
    /// From the IP stack: any form of packet, the switch adapts it per port.
    void transmit(PacketList& packets) noexcept override {
        for (PacketBuffer& packet : packets) {
            ++statistics_.tx_packets;
            statistics_.tx_bytes += packet.length();
        }
        port.receive(packets);
    }
    /// The device that the switch sees: sending to it means delivering to the IP stack.
    class Inside final : public NetDevice {
    public:
        explicit Inside(HostPort& host) noexcept : host_{host} {
            set_name("host");
            features_.scatter_gather = true;
            features_.tx_checksum = true; // the IP stack takes a partial checksum for a good one,
            features_.tso4 = true;        // and a segment of any length
        }
        void transmit(PacketList& packets) noexcept override { host_.receive_from_switch(packets); }

    private:
        HostPort& host_;
    };
    void receive_from_switch(PacketList& packets) noexcept {
        for (PacketBuffer& packet : packets) {
            ++statistics_.rx_packets;
            statistics_.rx_bytes += packet.length();
        }
        deliver(packets);
    }
    Inside inside{*this};
    SwitchPort port;
};

struct Uplink {
    SwitchPort port;
};

constinit Switch bridge{"xenbr0"};
HostPort* host = nullptr;
bool host_has_nic_address = false;

void register_host() {
    if (!NetRegistry::add(*host))
        kernel::printk(kernel::Level::error, "xenbr0: the name is taken\n");
}

void set_host_address(const MacAddress& mac) {
    host->set_mac(mac);
    bridge.assign(host->port, mac);
}

void take_nic(NetDevice& nic) {
    auto* uplink = new (std::nothrow) Uplink;
    if (uplink == nullptr || !bridge.connect(uplink->port, nic, PortKind::uplink)) {
        kernel::printk(kernel::Level::error, "xenbr0: no room for %s\n", nic.name());
        return;
    }
    kernel::printk(kernel::Level::info, "xenbr0: %s is an uplink\n", nic.name());
    if (!host_has_nic_address) {
        host_has_nic_address = true;
        set_host_address(nic.mac());
    }
}

void start_switch() {
    if (!kernel::is_initial_domain())
        return;
    host = new (std::nothrow) HostPort;
    if (host == nullptr || !bridge.connect(host->port, host->inside, PortKind::host)) {
        kernel::printk(kernel::Level::error, "xenbr0: no memory\n");
        return;
    }
    // Locally administered; replaced by the address of the first NIC.
    set_host_address(MacAddress{{0x02, 0x00, 0x00, 0xce, 0x60, 0x01}});
    set_nic_taker(take_nic);
}
CERO_INITCALL(subsys, start_switch);

/// After the NICs, so that the address does not change under the IP stack.
void start_host_port() {
    if (host == nullptr)
        return;
    register_host();
    host->set_link_up();
}
CERO_INITCALL(late, start_host_port);

} // namespace

void SwitchPort::receive(PacketList& packets) noexcept {
    if (owner_ != nullptr)
        owner_->forward(*this, packets);
}

void SwitchPort::disconnect() noexcept {
    if (owner_ != nullptr)
        owner_->disconnect(*this);
}

Switch* Switch::find(const char* name) noexcept {
    return std::strcmp(name, bridge.name()) == 0 ? &bridge : nullptr;
}

Status Switch::connect(SwitchPort& port, NetDevice& device, PortKind kind) noexcept {
    {
        kernel::SpinGuard guard{lock_};
        unsigned number = 0;
        while (number < max_ports && ports_[number] != nullptr)
            ++number;
        if (number == max_ports)
            return Errno::nospc;
        port.number_ = static_cast<ForwardingTable::Port>(number);
        port.device_ = &device;
        port.kind_ = kind;
        port.owner_ = this;
        ports_[number] = &port;
    }
    device.set_receiver(&port);
    return {};
}

void Switch::assign(SwitchPort& port, const MacAddress& mac) noexcept {
    kernel::SpinGuard guard{lock_};
    table_.assign(mac, port.number_);
}

void Switch::disconnect(SwitchPort& port) noexcept {
    port.device_->set_receiver(nullptr);
    kernel::SpinGuard guard{lock_};
    ports_[port.number_] = nullptr;
    table_.forget_port(port.number_);
    port.owner_ = nullptr;
    port.device_ = nullptr;
}

void Switch::forward(SwitchPort& from, PacketList& packets) noexcept {
    const std::uint64_t now = kernel::monotonic_ns() / kernel::ns_per_s;
    kernel::SpinGuard guard{lock_};
    while (PacketBuffer* packet = packets.pop_front())
        forward_one(from, *packet, now);
    for (unsigned i = 0; i < touched_count_; ++i) {
        SwitchPort& port = *touched_[i];
        port.touched_ = false;
        port.device_->transmit(port.outgoing_);
    }
    touched_count_ = 0;
}

void Switch::forward_one(SwitchPort& from, PacketBuffer& packet, std::uint64_t now) noexcept {
    MacAddress addresses[2]; // destination, source
    if (packet.length() < ethernet_header ||
        packet.copy_out(0, addresses, sizeof addresses) != sizeof addresses) {
        packet.release();
        return;
    }
    const MacAddress& destination = addresses[0];
    if (!table_.learn(addresses[1], from.number_, now,
                      from.kind_ == PortKind::guest ? guest_quota : 0)) {
        ++from.forged_;
        if (from.kind_ == PortKind::guest) {
            const std::uint8_t* const mac = addresses[1].byte;
            kernel::printk_limited(
                from.lines_, kernel::Level::warning,
                "%s: %s uses %02x:%02x:%02x:%02x:%02x:%02x, which belongs to another "
                "port; the frame is dropped\n",
                name_, from.device_->name(), mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
        }
        packet.release();
        return;
    }
    if (destination.is_multicast())
        return flood(from, packet);
    const ForwardingTable::Port number = table_.lookup(destination, now);
    if (number == ForwardingTable::no_port)
        return flood(from, packet);
    SwitchPort* to = ports_[number];
    if (to == &from || to == nullptr) {
        packet.release();
        return;
    }
    send_to(*to, packet);
}

void Switch::send_to(SwitchPort& to, PacketBuffer& packet) noexcept {
    if (!to.touched_) {
        to.touched_ = true;
        touched_[touched_count_++] = &to;
    }
    const NetFeatures& features = to.device_->features();
    const bool is_cut =
        (packet.gso == Gso::tcp4 && !features.tso4) || (packet.gso == Gso::tcp6 && !features.tso6);
    adapt_packet(packet, features, to.outgoing_);
    if (is_cut)
        to.device_->transmit(to.outgoing_); // a batch of these would be many megabytes
}

void Switch::flood(const SwitchPort& from, PacketBuffer& packet) noexcept {
    SwitchPort* last = nullptr;
    for (SwitchPort* port : ports_) {
        // Two uplinks would make a loop with the outside network: nothing goes from one to another.
        if (port == nullptr || port == &from ||
            (from.kind_ == PortKind::uplink && port->kind_ == PortKind::uplink))
            continue;
        if (last != nullptr)
            if (PacketBuffer* copy = packet.clone(); copy != nullptr)
                send_to(*last, *copy);
        last = port;
    }
    if (last != nullptr)
        send_to(*last, packet);
    else
        packet.release();
}

} // namespace drivers
