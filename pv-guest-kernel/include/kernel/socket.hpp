// SPDX-License-Identifier: BSD-2-Clause
// Sockets: what the kernel start-up and the drivers need to know of the network.
#pragma once

#include <cero/lib/result.hpp>

namespace cero::driver {
class NetDevice;
}

namespace kernel::net {

/// Starts TCP/IP, the loopback interface and the network thread. Call once.
cero::Status start() noexcept;
/// Makes `device` an interface of the stack ("eth0" when `name` is null: the next free ethN).
cero::Status attach(cero::driver::NetDevice& device, const char* name) noexcept;
void detach(cero::driver::NetDevice& device) noexcept;

} // namespace kernel::net
