// SPDX-License-Identifier: BSD-2-Clause
// Socket options: what every kind of socket takes at the level SOL_SOCKET.
#include "../fs/text.hpp"
#include "socket.hpp"
#include <kernel/user_copy.hpp>

namespace kernel::net {

namespace {

namespace option {
enum : int {
    debug = 1,
    reuseaddr,
    type,
    error,
    dontroute,
    broadcast,
    sndbuf,
    rcvbuf,
    keepalive,
    oobinline,
    no_check,
    priority,
    linger,
    bsdcompat,
    reuseport,
    passcred,
    peercred,
    rcvlowat,
    sndlowat,
    rcvtimeo,
    sndtimeo,
    bindtodevice = 25,
    attach_filter = 26,
    detach_filter = 27,
    acceptconn = 30,
    sndbufforce = 32,
    rcvbufforce = 33,
    mark = 36,
    protocol = 38,
    domain = 39,
    lock_filter = 44,
};
}

Status set_common(Socket& socket, int name, const char* value, std::size_t size) noexcept {
    int number = 0;
    if (size >= sizeof(number))
        std::memcpy(&number, value, sizeof(number));
    switch (name) {
    case option::reuseaddr:
        socket.options.reuse_address = number != 0;
        return {};
    case option::keepalive:
        socket.options.keep_alive = number != 0;
        return {};
    case option::broadcast:
        socket.options.broadcast = number != 0;
        return {};
    case option::passcred:
        socket.options.pass_credentials = number != 0;
        return {};
    case option::sndbuf:
    case option::sndbufforce:
        socket.options.send_buffer = number * 2;
        return {};
    case option::rcvbuf:
    case option::rcvbufforce:
        socket.options.receive_buffer = number * 2;
        return {};
    case option::rcvtimeo:
    case option::sndtimeo: {
        if (size < 16)
            return Errno::inval;
        std::int64_t time[2];
        std::memcpy(time, value, sizeof(time));
        if (time[0] < 0 || time[1] < 0 || time[1] >= 1000000)
            return Errno::dom;
        const std::uint64_t ns = static_cast<std::uint64_t>(time[0]) * ns_per_s +
                                 static_cast<std::uint64_t>(time[1]) * 1000;
        (name == option::rcvtimeo ? socket.options.receive_timeout : socket.options.send_timeout) =
            ns;
        return {};
    }
    case option::bindtodevice:
        copy_text(socket.options.device, {value, size < 16 ? size : 15});
        return {};
    case option::reuseport:
    case option::debug:
    case option::dontroute:
    case option::oobinline:
    case option::no_check:
    case option::priority:
    case option::linger:
    case option::rcvlowat:
    case option::attach_filter: // packets come unfiltered: the programs that set filters check them
                                // again
    case option::detach_filter:
    case option::lock_filter:
    case option::mark:
        return {};
    default:
        return Errno::noprotoopt;
    }
}

Result<int> get_common(Socket& socket, int name) noexcept {
    switch (name) {
    case option::type:
        return socket.type;
    case option::domain:
        return socket.family;
    case option::protocol:
        return socket.protocol;
    case option::error:
        return static_cast<int>(socket.take_error());
    case option::reuseaddr:
        return socket.options.reuse_address ? 1 : 0;
    case option::keepalive:
        return socket.options.keep_alive ? 1 : 0;
    case option::broadcast:
        return socket.options.broadcast ? 1 : 0;
    case option::passcred:
        return socket.options.pass_credentials ? 1 : 0;
    case option::sndbuf:
        return socket.options.send_buffer;
    case option::rcvbuf:
        return socket.options.receive_buffer;
    case option::acceptconn:
        return socket.is_listening() ? 1 : 0;
    case option::rcvlowat:
    case option::sndlowat:
        return 1;
    case option::reuseport:
    case option::debug:
    case option::dontroute:
    case option::oobinline:
    case option::priority:
    case option::mark:
        return 0;
    default:
        return Errno::noprotoopt;
    }
}

/// Writes a value and its true length; a short buffer cuts it.
Status put_value(UserAddress value, UserAddress size_at, const void* data,
                 std::uint32_t size) noexcept {
    const auto room = TRY(read_user<std::uint32_t>(size_at));
    const std::uint32_t length = size < room ? size : room;
    TRY(copy_to_user(value, data, length));
    return write_user(size_at, length);
}

} // namespace

Status load_option(Socket& socket, int level, int name, UserAddress value,
                   std::uint32_t size) noexcept {
    char bytes[256] = {};
    const std::size_t length = size < sizeof(bytes) ? size : sizeof(bytes);
    if (length != 0)
        TRY(copy_from_user(bytes, value, length));
    auto own = socket.set_option(level, name, bytes, length);
    if (own || own.error() != Errno::noprotoopt || level != sol_socket)
        return own;
    return set_common(socket, name, bytes, length);
}

Status store_option(Socket& socket, int level, int name, UserAddress value,
                    UserAddress size_at) noexcept {
    if (level == sol_socket && name == option::peercred) {
        PeerCredentials who{};
        TRY(socket.peer_credentials(who));
        return put_value(value, size_at, &who, sizeof(who));
    }
    if (level == sol_socket && (name == option::rcvtimeo || name == option::sndtimeo)) {
        const std::uint64_t ns =
            name == option::rcvtimeo ? socket.options.receive_timeout : socket.options.send_timeout;
        const std::int64_t time[2] = {static_cast<std::int64_t>(ns / ns_per_s),
                                      static_cast<std::int64_t>(ns % ns_per_s / 1000)};
        return put_value(value, size_at, time, sizeof(time));
    }
    if (level == sol_socket && name == option::linger) {
        const int linger[2] = {};
        return put_value(value, size_at, linger, sizeof(linger));
    }
    auto number = socket.get_option(level, name);
    Errno error = number.error();
    int result = number ? *number : 0;
    if (error == Errno::noprotoopt && level == sol_socket) {
        auto common = get_common(socket, name);
        error = common.error();
        result = common ? *common : 0;
    }
    return error != Errno::ok ? Status{error} : put_value(value, size_at, &result, sizeof(result));
}

} // namespace kernel::net
