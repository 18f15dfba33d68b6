// SPDX-License-Identifier: BSD-2-Clause
// What TCP, UDP and raw IP sockets share: addresses and IP options.
#pragma once

#include "socket.hpp"
#include "socket_wait.hpp"
#include "stack.hpp"

#include <lwip/ip.h>
#include <lwip/ip4_addr.h>

namespace kernel::net {

inline Status decode(const Address& from, ip4_addr_t& address, std::uint16_t& port) noexcept {
    InetAddress inet;
    if (!from.get(inet))
        return Errno::inval;
    if (inet.family != af_inet)
        return Errno::afnosupport;
    address.addr = inet.address;
    port = swap16(inet.port);
    return {};
}
inline void encode(Address& to, const ip4_addr_t& address, std::uint16_t port) noexcept {
    InetAddress inet;
    inet.port = swap16(port);
    inet.address = address.addr;
    to.set(inet);
}

/// Options of level IPPROTO_IP on any pcb that begins with lwIP's common fields.
template <typename Pcb>
Status set_ip_option(Pcb* pcb, int name, const char* value, std::size_t size) noexcept {
    enum : int {
        tos = 1,
        ttl = 2,
        recvttl = 12,
        recvtos = 13,
        mtu_discover = 10,
        recverr = 11,
        pktinfo = 8,
        multicast_if = 32,
        multicast_ttl,
        multicast_loop,
        add_membership,
        drop_membership
    };
    const int number = size >= 4 ? *reinterpret_cast<const int*>(value) : (size >= 1 ? *value : 0);
    switch (name) {
    case tos:
        if (pcb != nullptr)
            pcb->tos = static_cast<u8_t>(number);
        return {};
    case ttl:
        if (pcb != nullptr)
            pcb->ttl = static_cast<u8_t>(number);
        return {};
    case recvttl:
    case recvtos:
    case mtu_discover:
    case recverr:
    case pktinfo:
    case multicast_if:
    case multicast_ttl:
    case multicast_loop:
    case add_membership:
    case drop_membership:
        return {};
    default:
        return Errno::noprotoopt;
    }
}
template <typename Pcb>
Result<int> get_ip_option(Pcb* pcb, int name) noexcept {
    enum : int { tos = 1, ttl = 2 };
    if (name == tos)
        return pcb == nullptr ? 0 : pcb->tos;
    if (name == ttl)
        return pcb == nullptr ? 64 : pcb->ttl;
    return 0;
}

/// Flags that lwIP keeps per pcb follow the common options.
template <typename Pcb>
void apply_common_options(Pcb* pcb, const SocketOptions& options) noexcept {
    pcb->so_options = static_cast<u8_t>((options.reuse_address ? SOF_REUSEADDR : 0) |
                                        (options.keep_alive ? SOF_KEEPALIVE : 0) | SOF_BROADCAST);
    netif* bound = options.device[0] != 0 ? find_netif(std::string_view{options.device}) : nullptr;
    pcb->netif_idx = bound != nullptr ? netif_get_index(bound) : NETIF_NO_INDEX;
}

Result<Socket*> make_tcp_socket() noexcept;
Result<Socket*> make_udp_socket() noexcept;
Result<Socket*> make_raw_socket(int protocol) noexcept;

} // namespace kernel::net
