// SPDX-License-Identifier: BSD-2-Clause
// TCP segments longer than the MTU, which the device (or the switch) cuts: a stream costs the stack
// a tenth of the packets.
#pragma once

#include <cero/driver/net.hpp>

struct tcp_pcb;

namespace kernel::net {

/// From now on the connection builds segments of many times the peer's segment size, if the way to
/// the peer leads through a device that cuts them. Connected; stack held; any number of times.
void use_long_segments(tcp_pcb& pcb) noexcept;

/// Describes an outgoing frame that is longer than `mtu` for the device that will cut it.
/// `ip_offset` is where its IPv4 header starts; stack held. TCP only: false for anything else.
bool describe_long_segment(drivers::PacketBuffer& packet, std::size_t ip_offset) noexcept;

} // namespace kernel::net
