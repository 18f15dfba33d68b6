// SPDX-License-Identifier: BSD-2-Clause
// UDP and raw IP sockets on lwIP.
#include "inet_socket.hpp"
#include <kernel/user_copy.hpp>

#include <lwip/prot/ip.h>
#include <lwip/prot/ip4.h>
#include <lwip/raw.h>
#include <lwip/udp.h>

#include <new>

namespace kernel::net {

namespace {

/// Received datagrams wait here. The stack's lock guards the queue.
struct Datagram {
    cero::ListLink link;
    pbuf* data;
    ip4_addr_t from;
    std::uint16_t port;
};

class DatagramSocket : public Socket {
public:
    using Socket::Socket;

    Result<std::size_t> receive(Message& message) noexcept final {
        const bool nonblocking = (message.flags & message_flag::dontwait) != 0;
        const bool peek = (message.flags & message_flag::peek) != 0;
        Datagram* datagram = nullptr;
        while (datagram == nullptr) {
            TRY(wait_ready(queue_.waiters, nonblocking, options.receive_timeout,
                           [&] { return !received_.empty() || read_closed_; }));
            StackGuard guard;
            datagram = received_.front();
            if (datagram == nullptr && read_closed_)
                return std::size_t{0};
            if (datagram != nullptr)
                received_.remove(*datagram);
        }
        const std::size_t whole = datagram->data->tot_len;
        Errno fault = Errno::ok;
        std::size_t count = 0;
        for (const pbuf* p = datagram->data; p != nullptr && message.data.remaining() != 0;
             p = p->next) {
            auto put = message.data.put(p->payload, p->len);
            if (!put) {
                fault = put.error();
                break;
            }
            count += *put;
        }
        if (message.address != nullptr)
            encode(*message.address, datagram->from, datagram->port);
        if (count < whole)
            message.out_flags |= message_flag::trunc;
        {
            StackGuard guard;
            if (peek) {
                received_.push_front(*datagram);
            } else {
                queued_ -= whole;
                destroy(datagram);
            }
        }
        if (fault != Errno::ok && count == 0)
            return fault;
        return (message.flags & message_flag::trunc) != 0 ? whole : count;
    }

    std::uint32_t poll(PollTable* table) noexcept final {
        if (table != nullptr)
            table->watch(queue_);
        return poll_event::writable |
               (received_.empty() && !read_closed_ ? 0U : poll_event::readable) |
               (error != Errno::ok ? poll_event::err : 0U);
    }
    Result<std::int64_t> ioctl(std::uint32_t command, std::uint64_t argument) noexcept final {
        constexpr std::uint32_t fionread = 0x541b;
        if (command != fionread)
            return Errno::notty;
        const Datagram* first = received_.front();
        TRY(write_user(argument, first == nullptr ? 0 : static_cast<int>(first->data->tot_len)));
        return 0;
    }
    Status shutdown(int how) noexcept final {
        if (!connected_)
            return Errno::notconn;
        if (how != 1)
            read_closed_ = true;
        queue_.notify(poll_event::readable);
        return {};
    }
    Status peer_address(Address& out) noexcept final {
        if (!connected_)
            return Errno::notconn;
        encode(out, peer_, peer_port_);
        return {};
    }

protected:
    /// Stack held; takes over the buffer.
    void enqueue(pbuf* data, const ip4_addr_t& from, std::uint16_t port) noexcept {
        auto* datagram = queued_ + data->tot_len > limit ? nullptr
                                                         : new (std::nothrow)
                                                               Datagram{{}, data, from, port};
        if (datagram == nullptr) {
            pbuf_free(data);
            return;
        }
        queued_ += data->tot_len;
        received_.push_back(*datagram);
        queue_.notify(poll_event::readable);
    }
    void discard_all() noexcept {
        while (Datagram* datagram = received_.pop_front())
            destroy(datagram);
    }
    static void destroy(Datagram* datagram) noexcept {
        pbuf_free(datagram->data);
        delete datagram;
    }
    /// The message as a buffer with room for headers in front.
    static Result<pbuf*> gather(Message& message, pbuf_layer layer) noexcept {
        const std::size_t size = message.data.remaining();
        if (size > 65507)
            return Errno::msgsize;
        pbuf* p = nullptr;
        {
            StackGuard guard;
            p = pbuf_alloc(layer, static_cast<u16_t>(size), PBUF_RAM);
        }
        if (p == nullptr)
            return Errno::nobufs;
        auto got = message.data.get(p->payload, size);
        if (got && *got == size)
            return p;
        StackGuard guard;
        pbuf_free(p);
        return Errno::fault;
    }

    static constexpr std::size_t limit = 1024 * 1024;
    PollQueue queue_;
    cero::IntrusiveList<Datagram, &Datagram::link> received_;
    std::size_t queued_{};
    bool connected_{};
    bool read_closed_{};
    ip4_addr_t peer_{};
    std::uint16_t peer_port_{};
};

class UdpSocket final : public DatagramSocket {
public:
    explicit UdpSocket(udp_pcb* pcb) noexcept : DatagramSocket{af_inet, sock_dgram, 17}, pcb_{pcb} {
        udp_recv(pcb_, on_receive, this);
    }
    Status bind(const Address& address) noexcept override {
        ip4_addr_t ip;
        std::uint16_t port = 0;
        TRY(decode(address, ip, port));
        StackGuard guard;
        apply_common_options(pcb_, options);
        return errno_of_lwip(udp_bind(pcb_, &ip, port));
    }
    Status connect(const Address& address, bool) noexcept override {
        StackGuard guard;
        if (address.family() == af_unspec) {
            udp_disconnect(pcb_);
            connected_ = false;
            return {};
        }
        TRY(decode(address, peer_, peer_port_));
        apply_common_options(pcb_, options);
        TRY(give_source());
        TRY(Status{errno_of_lwip(udp_connect(pcb_, &peer_, peer_port_))});
        connected_ = true;
        return {};
    }
    Result<std::size_t> send(Message& message) noexcept override {
        ip4_addr_t ip = peer_;
        std::uint16_t port = peer_port_;
        if (message.address != nullptr)
            TRY(decode(*message.address, ip, port));
        else if (!connected_)
            return Errno::destaddrreq;
        const std::size_t size = message.data.remaining();
        pbuf* p = TRY(gather(message, PBUF_TRANSPORT));
        StackGuard guard;
        apply_common_options(pcb_, options);
        netif* bound =
            options.device[0] != 0 ? find_netif(std::string_view{options.device}) : nullptr;
        const err_t status = bound != nullptr ? udp_sendto_if(pcb_, p, &ip, port, bound)
                                              : udp_sendto(pcb_, p, &ip, port);
        pbuf_free(p);
        if (status != ERR_OK)
            return errno_of_lwip(status);
        return size;
    }
    Status local_address(Address& out) noexcept override {
        StackGuard guard;
        ip4_addr_t ip = pcb_->local_ip;
        if (ip.addr == 0 && connected_) { // what a connected socket would send from
            Route route{};
            if (find_route(peer_.addr, route))
                if (const netif* interface = find_netif(route.interface))
                    ip = *netif_ip4_addr(interface);
        }
        encode(out, ip, pcb_->local_port);
        return {};
    }
    Status set_option(int level, int name, const char* value, std::size_t size) noexcept override {
        StackGuard guard;
        return level == 0 ? set_ip_option(pcb_, name, value, size) : Status{Errno::noprotoopt};
    }
    Result<int> get_option(int level, int name) noexcept override {
        return level == 0 ? get_ip_option(pcb_, name) : Result<int>{Errno::noprotoopt};
    }
    void close() noexcept override {
        {
            StackGuard guard;
            udp_remove(pcb_);
            discard_all();
        }
        delete this;
    }

private:
    ~UdpSocket() override = default;
    Status give_source() noexcept {
        return pcb_->local_port != 0 ? Status{}
                                     : Status{errno_of_lwip(udp_bind(pcb_, &pcb_->local_ip, 0))};
    }
    static void on_receive(void* argument, udp_pcb*, pbuf* p, const ip_addr_t* from, u16_t port) {
        static_cast<UdpSocket*>(argument)->enqueue(p, *from, port);
    }
    udp_pcb* pcb_;
};

class RawSocket final : public DatagramSocket {
public:
    RawSocket(raw_pcb* pcb, int number) noexcept
        : DatagramSocket{af_inet, sock_raw, number}, pcb_{pcb} {
        raw_recv(pcb_, on_receive, this);
        if (number == 255) // IPPROTO_RAW
            raw_set_flags(pcb_, RAW_FLAGS_HDRINCL);
    }
    Status bind(const Address& address) noexcept override {
        ip4_addr_t ip;
        std::uint16_t port = 0;
        TRY(decode(address, ip, port));
        StackGuard guard;
        return errno_of_lwip(raw_bind(pcb_, &ip));
    }
    Status connect(const Address& address, bool) noexcept override {
        TRY(decode(address, peer_, peer_port_));
        connected_ = true;
        return {};
    }
    Result<std::size_t> send(Message& message) noexcept override {
        ip4_addr_t ip = peer_;
        std::uint16_t port = 0;
        if (message.address != nullptr)
            TRY(decode(*message.address, ip, port));
        else if (!connected_)
            return Errno::destaddrreq;
        const std::size_t size = message.data.remaining();
        pbuf* p = TRY(gather(message, PBUF_IP));
        StackGuard guard;
        apply_common_options(pcb_, options);
        const err_t status = raw_sendto(pcb_, p, &ip);
        pbuf_free(p);
        if (status != ERR_OK)
            return errno_of_lwip(status);
        return size;
    }
    Status local_address(Address& out) noexcept override {
        encode(out, pcb_->local_ip, 0);
        return {};
    }
    Status set_option(int level, int name, const char* value, std::size_t size) noexcept override {
        constexpr int header_included = 3;
        StackGuard guard;
        if (level == 255) // SOL_RAW: ICMP filters; programs check again
            return {};
        if (level == 0 && name == header_included) {
            if (size >= 4 && *reinterpret_cast<const int*>(value) != 0)
                raw_set_flags(pcb_, RAW_FLAGS_HDRINCL);
            return {};
        }
        return level == 0 ? set_ip_option(pcb_, name, value, size) : Status{Errno::noprotoopt};
    }
    Result<int> get_option(int level, int name) noexcept override {
        return level == 0 ? get_ip_option(pcb_, name) : Result<int>{Errno::noprotoopt};
    }
    void close() noexcept override {
        {
            StackGuard guard;
            raw_remove(pcb_);
            discard_all();
        }
        delete this;
    }

private:
    ~RawSocket() override = default;
    /// Takes a copy and leaves the packet to the stack, which answers pings itself.
    static u8_t on_receive(void* argument, raw_pcb*, pbuf* p, const ip_addr_t* from) {
        if (pbuf* copy = pbuf_clone(PBUF_RAW, PBUF_RAM, p))
            static_cast<RawSocket*>(argument)->enqueue(copy, *from, 0);
        return 0;
    }
    raw_pcb* pcb_;
};

} // namespace

Result<Socket*> make_udp_socket() noexcept {
    StackGuard guard;
    udp_pcb* pcb = udp_new();
    auto* socket = pcb == nullptr ? nullptr : new (std::nothrow) UdpSocket{pcb};
    if (socket == nullptr) {
        if (pcb != nullptr)
            udp_remove(pcb);
        return Errno::nobufs;
    }
    return static_cast<Socket*>(socket);
}

Result<Socket*> make_raw_socket(int protocol) noexcept {
    if (current_credentials().euid != 0)
        return Errno::perm;
    StackGuard guard;
    raw_pcb* pcb = raw_new(static_cast<u8_t>(protocol));
    auto* socket = pcb == nullptr ? nullptr : new (std::nothrow) RawSocket{pcb, protocol};
    if (socket == nullptr) {
        if (pcb != nullptr)
            raw_remove(pcb);
        return Errno::nobufs;
    }
    return static_cast<Socket*>(socket);
}

Result<Socket*> make_inet_socket(int type, int protocol) noexcept {
    enum : int { tcp = 6, udp = 17 };
    switch (type) {
    case sock_stream:
        return protocol == 0 || protocol == tcp ? make_tcp_socket()
                                                : Result<Socket*>{Errno::protonosupport};
    case sock_dgram:
        return protocol == 0 || protocol == udp ? make_udp_socket()
                                                : Result<Socket*>{Errno::protonosupport};
    case sock_raw:
        return protocol < 0 || protocol > 255 ? Result<Socket*>{Errno::inval}
                                              : make_raw_socket(protocol);
    default:
        return Errno::prototype;
    }
}

} // namespace kernel::net
