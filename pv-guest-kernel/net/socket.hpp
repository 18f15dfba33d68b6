// SPDX-License-Identifier: BSD-2-Clause
// Socket: what every address family implements, and what the socket system calls work on.
#pragma once

#include <kernel/file.hpp>
#include <kernel/ref.hpp>
#include <kernel/user_copy.hpp>
#include <kernel/vfs.hpp>

#include <cstring>

namespace kernel::net {

enum Family : int {
    af_unspec = 0,
    af_unix = 1,
    af_inet = 2,
    af_inet6 = 10,
    af_netlink = 16,
    af_packet = 17
};
inline constexpr int sol_socket = 1;
enum SocketType : int { sock_stream = 1, sock_dgram = 2, sock_raw = 3, sock_seqpacket = 5 };

namespace message_flag {
inline constexpr std::uint32_t peek = 2, dontwait = 0x40, trunc = 0x20, ctrunc = 8, waitall = 0x100,
                               nosignal = 0x4000, cmsg_cloexec = 0x40000000;
}

/// A socket address as the ABI passes it.
struct Address {
    static constexpr std::size_t max_size = 128;
    std::uint32_t length{};
    alignas(8) char bytes[max_size]{};

    [[nodiscard]] std::uint16_t family() const noexcept {
        std::uint16_t f = 0;
        if (length >= sizeof(f))
            std::memcpy(&f, bytes, sizeof(f));
        return f;
    }
    template <typename T>
    [[nodiscard]] bool get(T& out) const noexcept {
        if (length < sizeof(T))
            return false;
        std::memcpy(&out, bytes, sizeof(T));
        return true;
    }
    template <typename T>
    void set(const T& in) noexcept {
        static_assert(sizeof(T) <= max_size);
        std::memcpy(bytes, &in, sizeof(T));
        length = sizeof(T);
    }
};

struct InetAddress {
    std::uint16_t family{af_inet};
    std::uint16_t port{};    ///< network order
    std::uint32_t address{}; ///< network order
    std::uint8_t zero[8]{};
};
static_assert(sizeof(InetAddress) == 16);

constexpr std::uint16_t swap16(std::uint16_t x) noexcept {
    return static_cast<std::uint16_t>(x << 8U | x >> 8U);
}

/// Who is at the other end of an AF_UNIX socket (SO_PEERCRED).
struct PeerCredentials {
    std::int32_t pid;
    std::uint32_t uid;
    std::uint32_t gid;
};

/// Files in flight with a message (SCM_RIGHTS).
struct PassedFiles {
    static constexpr std::size_t max_files = 64;
    Ref<File> files[max_files];
    std::size_t count{};
};

/// One sendmsg or recvmsg.
struct Message {
    IoBuffer& data;
    Address* address{};      ///< destination, or where the sender goes; null: not wanted
    PassedFiles* files{};    ///< null: none / not wanted
    bool want_credentials{}; ///< receive: SO_PASSCRED
    PeerCredentials credentials{};
    std::uint32_t flags{};
    std::uint32_t out_flags{}; ///< receive: MSG_TRUNC ...
};

/// Options that the common code keeps.
struct SocketOptions {
    bool reuse_address{}, keep_alive{}, broadcast{}, pass_credentials{};
    std::uint64_t receive_timeout{}, send_timeout{}; ///< ns, 0: none
    int send_buffer{212992}, receive_buffer{212992};
    char device[16]{}; ///< SO_BINDTODEVICE
};

class Socket {
public:
    Socket(int family_, int type_, int protocol_) noexcept
        : family{family_}, type{type_}, protocol{protocol_} {}
    virtual ~Socket() = default;
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    virtual Status bind(const Address&) noexcept { return Errno::opnotsupp; }
    virtual Status connect(const Address&, bool /*nonblocking*/) noexcept {
        return Errno::opnotsupp;
    }
    virtual Status listen(int /*backlog*/) noexcept { return Errno::opnotsupp; }
    /// A connected socket; again if there is none and it must not wait.
    virtual Result<Socket*> accept(bool /*nonblocking*/) noexcept { return Errno::opnotsupp; }
    virtual Status shutdown(int /*how*/) noexcept { return Errno::opnotsupp; }
    virtual Status local_address(Address&) noexcept { return Errno::opnotsupp; }
    virtual Status peer_address(Address&) noexcept { return Errno::notconn; }
    virtual Result<std::size_t> send(Message&) noexcept { return Errno::opnotsupp; }
    virtual Result<std::size_t> receive(Message&) noexcept { return Errno::opnotsupp; }
    virtual std::uint32_t poll(PollTable*) noexcept { return 0; }
    virtual Result<std::int64_t> ioctl(std::uint32_t, std::uint64_t) noexcept {
        return Errno::notty;
    }
    /// Options that the common code does not know. `size` bytes of value.
    virtual Status set_option(int /*level*/, int /*name*/, const char*, std::size_t) noexcept {
        return Errno::noprotoopt;
    }
    virtual Result<int> get_option(int /*level*/, int /*name*/) noexcept {
        return Errno::noprotoopt;
    }
    virtual Status peer_credentials(PeerCredentials&) noexcept { return Errno::opnotsupp; }
    virtual bool is_listening() const noexcept { return false; }
    /// The file is closed. The object may live on (a TCP connection that still drains) and deletes
    /// itself.
    virtual void close() noexcept { delete this; }
    /// Takes and clears the pending error (SO_ERROR).
    virtual Errno take_error() noexcept { return std::exchange(error, Errno::ok); }

    int family;
    int type;
    int protocol;
    SocketOptions options;
    Errno error{Errno::ok};
};

/// Families. `type` without flags.
Result<Socket*> make_unix_socket(int type, int protocol) noexcept;
Status make_unix_pair(int type, Socket*& a, Socket*& b) noexcept;
Result<Socket*> make_inet_socket(int type, int protocol) noexcept;
Result<Socket*> make_packet_socket(int type, int protocol) noexcept;
Result<Socket*> make_netlink_socket(int type, int protocol) noexcept;

/// setsockopt and getsockopt: by the socket's own options, else by those that all sockets have.
Status load_option(Socket& socket, int level, int name, UserAddress value,
                   std::uint32_t size) noexcept;
Status store_option(Socket& socket, int level, int name, UserAddress value,
                    UserAddress size_at) noexcept;

/// Interface ioctls (SIOCGIF...), the same on every kind of socket.
Result<std::int64_t> interface_ioctl(std::uint32_t command, std::uint64_t argument) noexcept;

/// Waits as a socket call does: honours O_NONBLOCK / MSG_DONTWAIT and the timeout option.
template <typename Predicate>
Status wait_ready(WaitQueue& queue, bool nonblocking, std::uint64_t timeout_ns,
                  Predicate predicate) noexcept;

} // namespace kernel::net
