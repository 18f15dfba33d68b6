// SPDX-License-Identifier: BSD-2-Clause
// Sockets: what the kernel start-up and the drivers need to know of the network.
#pragma once

#include <cero/lib/result.hpp>

namespace kernel::net {

/// Starts TCP/IP, the loopback interface and the network thread. Call once.
cero::Status start() noexcept;
/// Devices need no call: what drivers add to drivers::NetRegistry becomes an interface of that
/// name.

} // namespace kernel::net
