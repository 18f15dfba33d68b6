// SPDX-License-Identifier: BSD-2-Clause
// Long segments: lwIP is told a larger segment size than the peer's; the peer's is kept beside the
// connection, for the device.
#include "segment_offload.hpp"
#include "stack.hpp"

#include <lwip/priv/tcp_priv.h>
#include <lwip/prot/ip4.h>
#include <lwip/prot/tcp.h>
#include <lwip/tcp.h>

#include "lwip/hooks.h"

#include <cstring>

namespace kernel::net {

namespace {

/// A segment is then as long as the first flight that RFC 6928 allows.
constexpr unsigned factor = 10;
constexpr std::uint16_t smallest_segment = 536; ///< what every peer takes

std::uint8_t peer_size_slot() noexcept {
    static const std::uint8_t slot = tcp_ext_arg_alloc_id();
    return slot;
}

std::uint16_t peer_size_of(const tcp_pcb& pcb) noexcept {
    return static_cast<std::uint16_t>(
        reinterpret_cast<std::uintptr_t>(tcp_ext_arg_get(&pcb, peer_size_slot())));
}

} // namespace

void use_long_segments(tcp_pcb& pcb) noexcept {
    if (peer_size_of(pcb) != 0)
        return;
    const netif* way = cero_net_route(&pcb.local_ip, &pcb.remote_ip);
    const Interface* interface = way != nullptr ? find_interface(index_of(*way)) : nullptr;
    if (interface == nullptr || !interface->cuts_segments())
        return;
    tcp_ext_arg_set(&pcb, peer_size_slot(), reinterpret_cast<void*>(std::uintptr_t{pcb.mss}));
    pcb.mss = static_cast<std::uint16_t>(pcb.mss * factor);
    if (pcb.cwnd < pcb.mss)
        pcb.cwnd = pcb.mss; // lwIP never sends a segment longer than its congestion window
}

bool describe_long_segment(drivers::PacketBuffer& packet, std::size_t ip_offset) noexcept {
    const auto& first = packet.fragments[0];
    ip_hdr ip;
    tcp_hdr tcp;
    if (first.length < ip_offset + IP_HLEN + TCP_HLEN)
        return false;
    std::memcpy(&ip, first.data + ip_offset, sizeof ip);
    const std::size_t header = IPH_HL_BYTES(&ip);
    if (IPH_PROTO(&ip) != IP_PROTO_TCP || first.length < ip_offset + header + TCP_HLEN)
        return false;
    std::memcpy(&tcp, first.data + ip_offset + header, sizeof tcp);
    packet.gso = drivers::Gso::tcp4;
    packet.gso_size = smallest_segment;
    for (const tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next)
        if (pcb->local_port == lwip_ntohs(tcp.src) && pcb->remote_port == lwip_ntohs(tcp.dest) &&
            pcb->remote_ip.addr == ip.dest.addr && peer_size_of(*pcb) != 0)
            packet.gso_size = peer_size_of(*pcb);
    return true;
}

} // namespace kernel::net
