// SPDX-License-Identifier: BSD-2-Clause
// The TCP/IP stack: its one lock, its thread, its interfaces and routes. lwIP's functions are
// called with a StackGuard held only.
#pragma once

#include <cero/driver/net.hpp>
#include <kernel/sync.hpp>

#include <string_view>

#include <lwip/netif.h>
#include <lwip/pbuf.h>

namespace kernel::net {

/// Holds the stack. Releasing it delivers loopback packets and sends what was queued for the
/// devices.
class [[nodiscard]] StackGuard {
public:
    StackGuard() noexcept;
    ~StackGuard();
    StackGuard(const StackGuard&) = delete;
    StackGuard& operator=(const StackGuard&) = delete;
};

Errno errno_of_lwip(int error) noexcept;

/// A network interface of the stack on a device of drv's.
class Interface final : public drivers::NetReceiver {
public:
    explicit Interface(drivers::NetDevice& device) noexcept : device_{device} {}
    /// Stack held.
    Status attach(int index) noexcept;
    void detach() noexcept;

    void receive(drivers::PacketList& packets) noexcept override;
    void link_changed(bool up) noexcept override;
    /// Net thread, stack held: what arrived goes to packet sockets and into the stack.
    /// Gives the stack some of the packets that wait; true if more do.
    bool process() noexcept;
    /// Stack held: sends what was queued.
    void flush() noexcept;
    void queue(drivers::PacketBuffer& packet) noexcept { outgoing_.push_back(packet); }
    [[nodiscard]] bool has_input() noexcept { return !incoming_.empty(); }

    /// Longest IP packet on the wire.
    [[nodiscard]] std::uint16_t mtu() const noexcept { return mtu_; }
    void set_mtu(std::uint16_t mtu) noexcept;
    /// The device takes TCP segments of many times the MTU.
    [[nodiscard]] bool cuts_segments() const noexcept { return device_.features().tso4; }

    [[nodiscard]] drivers::NetDevice& device() noexcept { return device_; }
    [[nodiscard]] int index() const noexcept { return index_; }

    netif lwip{};
    cero::ListLink link;

private:
    static err_t initialize(netif* interface);
    static err_t output_ip(netif* interface, pbuf* packet, const ip4_addr_t* destination);
    static err_t output(netif* interface, pbuf* packet);
    void input(drivers::PacketBuffer& packet) noexcept;

    drivers::NetDevice& device_;
    int index_{};
    std::uint16_t mtu_{};
    Spinlock lock_; ///< of incoming_
    drivers::PacketList incoming_;
    std::size_t incoming_pages_{};
    drivers::PacketList outgoing_;
};

using InterfaceList = cero::IntrusiveList<Interface, &Interface::link>;
/// Stack held for all of these.
InterfaceList& interfaces() noexcept;
Interface* find_interface(std::string_view name) noexcept;
Interface* find_interface(int index) noexcept;
inline constexpr int loopback_index = 1;
/// lwIP's view of an interface by name or index, the loopback included.
netif* find_netif(std::string_view name) noexcept;
netif* find_netif(int index) noexcept;
int index_of(const netif& interface) noexcept;
/// Up to 15 characters; "lo" or the device's name.
const char* name_of(const netif& interface) noexcept;
/// Longest IP packet; the loopback's stays what it is.
std::uint16_t mtu_of(const netif& interface) noexcept;
void set_mtu(netif& interface, std::uint16_t mtu) noexcept;
void wake_net_thread() noexcept;

/// A route other than those that follow from the interfaces' addresses. Addresses in network order.
struct Route {
    std::uint32_t destination, mask, gateway;
    std::uint32_t metric;
    int interface;
};
Status add_route(const Route& route) noexcept;
Status remove_route(const Route& route) noexcept;
/// Forgets what leads through an interface that goes down.
void drop_routes(int interface) noexcept;
bool route_at(std::size_t index, Route& out) noexcept;
/// How to reach a destination.
bool find_route(std::uint32_t destination, Route& out) noexcept;

/// AF_PACKET: a frame came in (or went out) on an interface.
void offer_to_packet_sockets(Interface& interface, drivers::PacketBuffer& packet,
                             bool outgoing) noexcept;
[[nodiscard]] bool has_packet_sockets() noexcept;

} // namespace kernel::net
