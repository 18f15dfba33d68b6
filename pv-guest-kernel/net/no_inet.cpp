// SPDX-License-Identifier: BSD-2-Clause
// Stand-ins for a kernel that is built without lwIP: AF_UNIX only.
#include "socket.hpp"

namespace kernel::net {

Result<Socket*> make_inet_socket(int, int) noexcept {
    return Errno::afnosupport;
}
Result<Socket*> make_packet_socket(int, int) noexcept {
    return Errno::afnosupport;
}
Result<Socket*> make_netlink_socket(int, int) noexcept {
    return Errno::afnosupport;
}
Result<std::int64_t> interface_ioctl(std::uint32_t, std::uint64_t) noexcept {
    return Errno::notty;
}

} // namespace kernel::net
