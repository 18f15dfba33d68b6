// SPDX-License-Identifier: BSD-2-Clause
// AF_NETLINK: not offered yet; programs fall back to ioctls.
#include "socket.hpp"

namespace kernel::net {

Result<Socket*> make_netlink_socket(int, int) noexcept {
    return Errno::afnosupport;
}

} // namespace kernel::net
