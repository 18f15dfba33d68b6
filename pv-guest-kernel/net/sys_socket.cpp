// SPDX-License-Identifier: BSD-2-Clause
// Socket system calls: descriptors, addresses, messages with control data.
#include "../fs/syscall_support.hpp"
#include "socket.hpp"
#include <kernel/process_api.hpp>

#include <new>

namespace kernel {

namespace net {
namespace {

constexpr std::uint32_t type_mask = 0xf;

class SocketOps final : public FileOps {
public:
    void release(File& file) noexcept override { of(file).close(); }
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        Message message{.data = buffer, .flags = flags_of(file)};
        return of(file).receive(message);
    }
    Result<std::size_t> write(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        Message message{.data = buffer, .flags = flags_of(file)};
        return finish_send(of(file).send(message), message.flags);
    }
    std::uint32_t poll(File& file, PollTable* table) noexcept override {
        return of(file).poll(table);
    }
    Result<std::int64_t> ioctl(File& file, std::uint32_t command,
                               std::uint64_t argument) noexcept override {
        auto own = of(file).ioctl(command, argument);
        if (own || own.error() != Errno::notty)
            return own;
        return interface_ioctl(command, argument);
    }
    [[nodiscard]] std::uint32_t anonymous_mode() const noexcept override {
        return mode::socket | 0777U;
    }

    static Socket& of(File& file) noexcept { return *static_cast<Socket*>(file.data); }
    static std::uint32_t flags_of(const File& file) noexcept {
        return file.is_nonblocking() ? message_flag::dontwait : 0;
    }
    static Result<std::size_t> finish_send(Result<std::size_t> sent, std::uint32_t flags) noexcept {
        constexpr int sigpipe = 13;
        if (!sent && sent.error() == Errno::pipe && (flags & message_flag::nosignal) == 0)
            signal_current(sigpipe);
        return sent;
    }
};
SocketOps socket_ops;

/// A descriptor that is a socket.
struct Handle {
    Ref<File> file;
    Socket* operator->() const noexcept { return &SocketOps::of(*file); }
    [[nodiscard]] std::uint32_t flags(std::uint32_t given) const noexcept {
        return given | SocketOps::flags_of(*file);
    }
};
Result<Handle> socket_of(int fd) noexcept {
    auto file = TRY(io_file_of(fd));
    if (file->ops != &socket_ops)
        return Errno::notsock;
    return Handle{std::move(file)};
}

Result<Ref<File>> file_for(Socket* socket, std::uint32_t flags) noexcept {
    auto file = File::create_anonymous(socket_ops, "socket", socket,
                                       open_flag::rdwr | (flags & open_flag::nonblock));
    if (!file)
        socket->close();
    return file;
}
Result<int> install(Socket* socket, std::uint32_t flags) noexcept {
    auto file = TRY(file_for(socket, flags));
    return current_files().install(std::move(file), (flags & open_flag::cloexec) != 0);
}

Result<Socket*> make(int family, int type, int protocol) noexcept {
    switch (family) {
    case af_unix:
        return make_unix_socket(type, protocol);
    case af_inet:
        return make_inet_socket(type, protocol);
    case af_packet:
        return make_packet_socket(type, protocol);
    case af_netlink:
        return make_netlink_socket(type, protocol);
    default:
        return Errno::afnosupport;
    }
}

Status load_address(Address& out, UserAddress from, std::uint32_t length) noexcept {
    if (length > Address::max_size)
        return Errno::inval;
    out.length = length;
    return length == 0 ? Status{} : copy_from_user(out.bytes, from, length);
}
/// Writes an address and its true length; a short buffer cuts it.
Status store_address(const Address& address, UserAddress to, UserAddress length_at) noexcept {
    if (to == 0)
        return {};
    const auto room = TRY(read_user<std::uint32_t>(length_at));
    const std::uint32_t size = address.length < room ? address.length : room;
    TRY(copy_to_user(to, address.bytes, size));
    return write_user(length_at, address.length);
}

} // namespace
} // namespace net

namespace {

using namespace net;

Result<int> sys_socket(int family, std::uint32_t type, int protocol) noexcept {
    auto socket = TRY(make(family, static_cast<int>(type & type_mask), protocol));
    return install(socket, type);
}

Status sys_socketpair(int family, std::uint32_t type, int, UserAddress out) noexcept {
    if (family != af_unix)
        return Errno::opnotsupp;
    Socket* a = nullptr;
    Socket* b = nullptr;
    TRY(make_unix_pair(static_cast<int>(type & type_mask), a, b));
    auto first = file_for(a, type);
    if (!first) {
        b->close();
        return first.error();
    }
    auto second = TRY(file_for(b, type));
    const bool cloexec = (type & open_flag::cloexec) != 0;
    return current_files().install_pair(*std::move(first), std::move(second), cloexec, out);
}

Status sys_bind(int fd, UserAddress name, std::uint32_t length) noexcept {
    auto socket = TRY(socket_of(fd));
    Address address;
    TRY(load_address(address, name, length));
    return socket->bind(address);
}
Status sys_connect(int fd, UserAddress name, std::uint32_t length) noexcept {
    auto socket = TRY(socket_of(fd));
    Address address;
    TRY(load_address(address, name, length));
    return socket->connect(address, socket.file->is_nonblocking());
}
Status sys_listen(int fd, int backlog) noexcept {
    auto socket = TRY(socket_of(fd));
    return socket->listen(backlog);
}

Result<int> sys_accept4(int fd, UserAddress name, UserAddress length,
                        std::uint32_t flags) noexcept {
    if ((flags & ~(open_flag::cloexec | open_flag::nonblock)) != 0)
        return Errno::inval;
    auto socket = TRY(socket_of(fd));
    Socket* peer = TRY(socket->accept(socket.file->is_nonblocking()));
    auto file = TRY(file_for(peer, flags));
    if (name != 0) {
        Address address;
        (void)peer->peer_address(address);
        TRY(store_address(address, name, length));
    }
    return current_files().install(std::move(file), (flags & open_flag::cloexec) != 0);
}
Result<int> sys_accept(int fd, UserAddress name, UserAddress length) noexcept {
    return sys_accept4(fd, name, length, 0);
}

Status sys_shutdown(int fd, int how) noexcept {
    auto socket = TRY(socket_of(fd));
    return how < 0 || how > 2 ? Status{Errno::inval} : socket->shutdown(how);
}
Status sys_getsockname(int fd, UserAddress name, UserAddress length) noexcept {
    auto socket = TRY(socket_of(fd));
    Address address;
    TRY(socket->local_address(address));
    return store_address(address, name, length);
}
Status sys_getpeername(int fd, UserAddress name, UserAddress length) noexcept {
    auto socket = TRY(socket_of(fd));
    Address address;
    TRY(socket->peer_address(address));
    return store_address(address, name, length);
}

Result<std::size_t> sys_sendto(int fd, UserAddress data, std::size_t size, std::uint32_t flags,
                               UserAddress name, std::uint32_t length) noexcept {
    auto socket = TRY(socket_of(fd));
    Address address;
    if (name != 0)
        TRY(load_address(address, name, length));
    auto buffer = IoBuffer::user(data, size);
    Message message{
        .data = buffer, .address = name != 0 ? &address : nullptr, .flags = socket.flags(flags)};
    return SocketOps::finish_send(socket->send(message), flags);
}

Result<std::size_t> sys_recvfrom(int fd, UserAddress data, std::size_t size, std::uint32_t flags,
                                 UserAddress name, UserAddress length) noexcept {
    auto socket = TRY(socket_of(fd));
    Address address;
    auto buffer = IoBuffer::user(data, size);
    Message message{
        .data = buffer, .address = name != 0 ? &address : nullptr, .flags = socket.flags(flags)};
    auto count = TRY(socket->receive(message));
    if (name != 0)
        TRY(store_address(address, name, length));
    return count;
}

struct UserMessage {
    UserAddress name;
    std::uint32_t name_length, pad0;
    UserAddress segments;
    std::uint64_t segment_count;
    UserAddress control;
    std::uint64_t control_length;
    std::uint32_t flags, pad1;
};
static_assert(sizeof(UserMessage) == 56);

struct ControlHeader {
    std::uint64_t length;
    std::int32_t level, type;
};
constexpr int scm_rights = 1;
constexpr int scm_credentials = 2;
constexpr std::size_t align8(std::size_t n) noexcept {
    return (n + 7) & ~std::size_t{7};
}

/// Collects the descriptors named in control data.
Status load_control(const UserMessage& user, PassedFiles& files) noexcept {
    std::uint64_t at = 0;
    while (at + sizeof(ControlHeader) <= user.control_length) {
        const auto header = TRY(read_user<ControlHeader>(user.control + at));
        if (header.length < sizeof(header) || header.length > user.control_length - at)
            return Errno::inval;
        if (header.level == sol_socket && header.type == scm_rights) {
            const std::size_t count = (header.length - sizeof(header)) / sizeof(int);
            if (files.count + count > PassedFiles::max_files)
                return Errno::inval;
            for (std::size_t i = 0; i < count; ++i) {
                const int fd =
                    TRY(read_user<int>(user.control + at + sizeof(header) + i * sizeof(int)));
                files.files[files.count] = TRY(file_of(fd));
                ++files.count;
            }
        }
        at += align8(header.length);
    }
    return {};
}

/// Writes what came with a message; yields the length used.
Result<std::size_t> store_control(const UserMessage& user, Message& message,
                                  PassedFiles& files) noexcept {
    std::size_t used = 0;
    if (message.want_credentials) {
        struct {
            ControlHeader header;
            PeerCredentials who;
            std::uint32_t pad;
        } record{{sizeof(ControlHeader) + sizeof(PeerCredentials), sol_socket, scm_credentials},
                 message.credentials,
                 0};
        if (user.control_length >= sizeof(record)) {
            TRY(copy_to_user(user.control, &record, sizeof(record)));
            used = align8(sizeof(record));
        } else {
            message.out_flags |= message_flag::ctrunc;
        }
    }
    if (files.count == 0)
        return used;
    if (used + sizeof(ControlHeader) + sizeof(int) > user.control_length) {
        message.out_flags |= message_flag::ctrunc;
        return used;
    }
    std::size_t room = (user.control_length - used - sizeof(ControlHeader)) / sizeof(int);
    if (files.count > room)
        message.out_flags |= message_flag::ctrunc;
    else
        room = files.count;
    const UserAddress base = user.control + used;
    for (std::size_t i = 0; i < room; ++i) {
        const int fd = TRY(current_files().install(
            std::move(files.files[i]), (message.flags & message_flag::cmsg_cloexec) != 0));
        TRY(write_user(base + sizeof(ControlHeader) + i * sizeof(int), fd));
    }
    const std::size_t length = sizeof(ControlHeader) + room * sizeof(int);
    TRY(write_user(base, ControlHeader{length, sol_socket, scm_rights}));
    return used + align8(length);
}

Result<std::size_t> send_message(int fd, UserAddress at, std::uint32_t flags) noexcept {
    auto socket = TRY(socket_of(fd));
    const auto user = TRY(read_user<UserMessage>(at));
    Address address;
    if (user.name != 0)
        TRY(load_address(address, user.name, user.name_length));
    UserSegments segments;
    TRY(segments.load(user.segments, user.segment_count));
    auto buffer = segments.buffer();
    Message message{.data = buffer,
                    .address = user.name != 0 && user.name_length != 0 ? &address : nullptr,
                    .flags = socket.flags(flags)};
    if (user.control == 0 || user.control_length == 0)
        return SocketOps::finish_send(socket->send(message), flags);
    auto* files = new (std::nothrow) PassedFiles;
    if (files == nullptr)
        return Errno::nomem;
    message.files = files;
    auto loaded = load_control(user, *files);
    Result<std::size_t> sent = loaded ? socket->send(message) : Result<std::size_t>{loaded.error()};
    delete files;
    return SocketOps::finish_send(std::move(sent), flags);
}
Result<std::size_t> sys_sendmsg(int fd, UserAddress at, std::uint32_t flags) noexcept {
    return send_message(fd, at, flags);
}

Result<std::size_t> receive_message(int fd, UserAddress at, std::uint32_t flags) noexcept {
    auto socket = TRY(socket_of(fd));
    auto user = TRY(read_user<UserMessage>(at));
    Address address;
    UserSegments segments;
    TRY(segments.load(user.segments, user.segment_count));
    auto buffer = segments.buffer();
    Message message{.data = buffer,
                    .address = user.name != 0 ? &address : nullptr,
                    .flags = socket.flags(flags)};
    PassedFiles* files = nullptr;
    if (user.control != 0 && user.control_length != 0) {
        files = new (std::nothrow) PassedFiles;
        if (files == nullptr)
            return Errno::nomem;
        message.files = files;
        message.want_credentials = socket->options.pass_credentials;
    }
    auto count = socket->receive(message);
    Errno error = count.error();
    std::size_t control_used = 0;
    if (count && files != nullptr) {
        auto stored = store_control(user, message, *files);
        error = stored.error();
        control_used = stored ? *stored : 0;
    }
    delete files;
    if (error != Errno::ok)
        return error;
    if (user.name != 0) {
        const std::uint32_t size =
            address.length < user.name_length ? address.length : user.name_length;
        TRY(copy_to_user(user.name, address.bytes, size));
        user.name_length = address.length;
    }
    user.control_length = control_used;
    user.flags = message.out_flags;
    TRY(write_user(at, user));
    return count;
}
Result<std::size_t> sys_recvmsg(int fd, UserAddress at, std::uint32_t flags) noexcept {
    return receive_message(fd, at, flags);
}

struct UserBatchEntry {
    UserMessage message;
    std::uint32_t length, pad;
};

Result<int> sys_sendmmsg(int fd, UserAddress at, unsigned count, std::uint32_t flags) noexcept {
    int done = 0;
    for (; static_cast<unsigned>(done) < count && done < 1024;
         ++done, at += sizeof(UserBatchEntry)) {
        auto sent = send_message(fd, at, flags);
        if (!sent)
            return done != 0 ? Result<int>{done} : Result<int>{sent.error()};
        TRY(write_user(at + sizeof(UserMessage), static_cast<std::uint32_t>(*sent)));
    }
    return done;
}
Result<int> sys_recvmmsg(int fd, UserAddress at, unsigned count, std::uint32_t flags,
                         UserAddress) noexcept {
    constexpr std::uint32_t wait_for_one = 0x10000;
    int done = 0;
    for (; static_cast<unsigned>(done) < count && done < 1024;
         ++done, at += sizeof(UserBatchEntry)) {
        const bool more = done != 0 && (flags & wait_for_one) != 0;
        auto got =
            receive_message(fd, at, (flags & ~wait_for_one) | (more ? message_flag::dontwait : 0));
        if (!got)
            return done != 0 ? Result<int>{done} : Result<int>{got.error()};
        TRY(write_user(at + sizeof(UserMessage), static_cast<std::uint32_t>(*got)));
    }
    return done;
}

Status sys_setsockopt(int fd, int level, int name, UserAddress value, std::uint32_t size) noexcept {
    auto socket = TRY(socket_of(fd));
    return load_option(*socket.operator->(), level, name, value, size);
}

Status sys_getsockopt(int fd, int level, int name, UserAddress value,
                      UserAddress size_at) noexcept {
    auto socket = TRY(socket_of(fd));
    return store_option(*socket.operator->(), level, name, value, size_at);
}

CERO_SYSCALL(41, socket);
CERO_SYSCALL(42, connect);
CERO_SYSCALL(43, accept);
CERO_SYSCALL(44, sendto);
CERO_SYSCALL(45, recvfrom);
CERO_SYSCALL(46, sendmsg);
CERO_SYSCALL(47, recvmsg);
CERO_SYSCALL(48, shutdown);
CERO_SYSCALL(49, bind);
CERO_SYSCALL(50, listen);
CERO_SYSCALL(51, getsockname);
CERO_SYSCALL(52, getpeername);
CERO_SYSCALL(53, socketpair);
CERO_SYSCALL(54, setsockopt);
CERO_SYSCALL(55, getsockopt);
CERO_SYSCALL(288, accept4);
CERO_SYSCALL(299, recvmmsg);
CERO_SYSCALL(307, sendmmsg);

} // namespace
} // namespace kernel
