// SPDX-License-Identifier: BSD-2-Clause
// TCP sockets on lwIP's callback interface.
#include "../fs/page_cache.hpp"
#include "inet_socket.hpp"
#include "segment_offload.hpp"
#include <kernel/memory.hpp>
#include <kernel/user_copy.hpp>

#include <lwip/tcp.h>

#include "lwip/hooks.h"

#include <new>

namespace kernel::net {

namespace {

enum class State : std::uint8_t { fresh, listening, connecting, connected, dead };

/// The stack's lock guards everything but the copying to and from the program.
class TcpSocket final : public Socket {
public:
    explicit TcpSocket(tcp_pcb* pcb) noexcept : Socket{af_inet, sock_stream, 6}, pcb_{pcb} {
        hook();
    }

    Status bind(const Address& address) noexcept override;
    Status connect(const Address& address, bool nonblocking) noexcept override;
    Status listen(int backlog) noexcept override;
    Result<Socket*> accept(bool nonblocking) noexcept override;
    Status shutdown(int how) noexcept override;
    Status local_address(Address& out) noexcept override;
    Status peer_address(Address& out) noexcept override;
    Result<std::size_t> send(Message& message) noexcept override;
    Result<std::size_t> receive(Message& message) noexcept override;
    std::uint32_t poll(PollTable* table) noexcept override;
    Result<std::int64_t> ioctl(std::uint32_t command, std::uint64_t argument) noexcept override;
    Status set_option(int level, int name, const char* value, std::size_t size) noexcept override;
    Result<int> get_option(int level, int name) noexcept override;
    bool is_listening() const noexcept override { return state_ == State::listening; }
    void close() noexcept override;

private:
    ~TcpSocket() override;
    void hook() noexcept;
    void discard_input() noexcept;
    [[nodiscard]] std::size_t room() const noexcept;
    [[nodiscard]] bool can_send() const noexcept {
        return pcb_ == nullptr || write_closed_ || (state_ == State::connected && room() != 0);
    }
    void release_consumed(std::size_t count) noexcept;

    static err_t on_accept(void* argument, tcp_pcb* fresh, err_t error);
    static err_t on_connected(void* argument, tcp_pcb* pcb, err_t error);
    static err_t on_receive(void* argument, tcp_pcb* pcb, pbuf* p, err_t error);
    static err_t on_sent(void* argument, tcp_pcb* pcb, u16_t length);
    static void on_error(void* argument, err_t error);

    unsigned buffer_order_{2};
    tcp_pcb* pcb_; ///< null once lwIP has given up the connection
    State state_{State::fresh};
    PollQueue queue_;
    Mutex receive_lock_; ///< one reader at a time
    Mutex send_lock_;
    pbuf* first_{}; ///< received, linked through `next` only
    pbuf* last_{};
    std::size_t offset_{}; ///< into first_
    std::size_t available_{};
    bool end_seen_{};
    bool read_closed_{};
    bool write_closed_{};
    bool no_delay_{};
    char* buffer_{};
    TcpSocket* waiting_{}; ///< listening: accepted by lwIP, not yet by the program
    TcpSocket* next_waiting_{};
};

TcpSocket::~TcpSocket() {
    if (buffer_ != nullptr)
        free_pages(buffer_, buffer_order_);
}

void TcpSocket::hook() noexcept {
    tcp_arg(pcb_, this);
    tcp_recv(pcb_, on_receive);
    tcp_sent(pcb_, on_sent);
    tcp_err(pcb_, on_error);
}

std::size_t TcpSocket::room() const noexcept {
    if (tcp_sndqueuelen(pcb_) >= TCP_SND_QUEUELEN - 8)
        return 0;
    return pcb_->snd_buf; // tcp_sndbuf() stops at 65535
}

Status TcpSocket::bind(const Address& address) noexcept {
    ip4_addr_t ip;
    std::uint16_t port = 0;
    TRY(decode(address, ip, port));
    StackGuard guard;
    if (pcb_ == nullptr || state_ != State::fresh)
        return Errno::inval;
    if (ip.addr != 0 && !ip4_addr_isbroadcast(&ip, netif_default)) {
        bool own = (lwip_ntohl(ip.addr) >> 24U) == 127;
        for (netif* each = netif_list; each != nullptr; each = each->next)
            own = own || netif_ip4_addr(each)->addr == ip.addr;
        if (!own)
            return Errno::addrnotavail;
    }
    apply_common_options(pcb_, options);
    return errno_of_lwip(tcp_bind(pcb_, &ip, port));
}

err_t TcpSocket::on_connected(void* argument, tcp_pcb*, err_t) {
    auto& self = *static_cast<TcpSocket*>(argument);
    self.state_ = State::connected;
    self.queue_.notify(poll_event::writable);
    return ERR_OK;
}

void TcpSocket::on_error(void* argument, err_t error) {
    if (argument == nullptr)
        return;
    auto& self = *static_cast<TcpSocket*>(argument); // the pcb is gone already
    self.pcb_ = nullptr;
    self.error = self.state_ == State::connecting && error == ERR_RST    ? Errno::connrefused
                 : self.state_ == State::connecting && error == ERR_ABRT ? Errno::timedout
                                                                         : errno_of_lwip(error);
    self.state_ = State::dead;
    self.queue_.notify(poll_event::err | poll_event::hup);
}

err_t TcpSocket::on_receive(void* argument, tcp_pcb* pcb, pbuf* p, err_t) {
    auto* self = static_cast<TcpSocket*>(argument);
    if (self == nullptr) {
        if (p != nullptr) {
            tcp_recved(pcb, p->tot_len);
            pbuf_free(p);
        }
        return ERR_OK;
    }
    if (p == nullptr) {
        self->end_seen_ = true;
        self->queue_.notify(poll_event::readable | poll_event::rdhup);
        return ERR_OK;
    }
    if (self->read_closed_) {
        tcp_recved(pcb, p->tot_len);
        pbuf_free(p);
        return ERR_OK;
    }
    // What stands for several segments is acknowledged like several: at once.
    if (p->tot_len > TCP_MSS)
        tcp_set_flags(pcb, TF_ACK_NOW);
    self->available_ += p->tot_len;
    pbuf* tail = p;
    while (tail->next != nullptr)
        tail = tail->next;
    if (self->last_ == nullptr)
        self->first_ = p;
    else
        self->last_->next = p;
    self->last_ = tail;
    self->queue_.notify(poll_event::readable);
    return ERR_OK;
}

err_t TcpSocket::on_sent(void* argument, tcp_pcb*, u16_t) {
    auto* self = static_cast<TcpSocket*>(argument);
    if (self != nullptr && self->room() >= TCP_SND_BUF / 4)
        self->queue_.notify(poll_event::writable);
    return ERR_OK;
}

Status TcpSocket::connect(const Address& address, bool nonblocking) noexcept {
    ip4_addr_t ip;
    std::uint16_t port = 0;
    TRY(decode(address, ip, port));
    {
        StackGuard guard;
        if (state_ == State::connected)
            return Errno::isconn;
        if (state_ == State::connecting) {
            if (nonblocking)
                return Errno::already;
        } else {
            if (pcb_ == nullptr)
                return error != Errno::ok ? take_error() : Errno::connaborted;
            if (state_ != State::fresh)
                return Errno::inval;
            if (ip.addr == 0)
                ip.addr = PP_HTONL(0x7f000001);
            apply_common_options(pcb_, options);
            Route route{};
            if (!find_route(ip.addr, route) && cero_net_route(nullptr, &ip) == nullptr)
                return Errno::netunreach;
            const err_t status = tcp_connect(pcb_, &ip, port, on_connected);
            if (status != ERR_OK)
                return errno_of_lwip(status);
            state_ = State::connecting;
        }
    }
    if (nonblocking)
        return Errno::inprogress;
    TRY(queue_.waiters.wait_interruptible([&] { return state_ != State::connecting; }));
    if (state_ == State::connected)
        return {};
    const Errno why = take_error();
    return why == Errno::ok ? Errno::connrefused : why;
}

Status TcpSocket::listen(int backlog) noexcept {
    StackGuard guard;
    if (state_ == State::listening)
        return {};
    if (pcb_ == nullptr || state_ != State::fresh)
        return Errno::inval;
    if (pcb_->local_port == 0 && tcp_bind(pcb_, IP4_ADDR_ANY, 0) != ERR_OK)
        return Errno::addrinuse;
    const u8_t limit = static_cast<u8_t>(backlog < 1 ? 1 : (backlog > 255 ? 255 : backlog));
    err_t error_code = ERR_OK;
    tcp_pcb* listener = tcp_listen_with_backlog_and_err(pcb_, limit, &error_code);
    if (listener == nullptr)
        return errno_of_lwip(error_code);
    pcb_ = listener;
    state_ = State::listening;
    tcp_arg(pcb_, this);
    tcp_accept(pcb_, on_accept);
    return {};
}

err_t TcpSocket::on_accept(void* argument, tcp_pcb* fresh, err_t error) {
    auto* self = static_cast<TcpSocket*>(argument);
    if (self == nullptr || error != ERR_OK || fresh == nullptr)
        return ERR_VAL;
    auto* socket = new (std::nothrow) TcpSocket{fresh};
    if (socket == nullptr)
        return ERR_MEM;
    socket->state_ = State::connected;
    tcp_backlog_delayed(fresh);
    TcpSocket** link = &self->waiting_;
    while (*link != nullptr)
        link = &(*link)->next_waiting_;
    *link = socket;
    self->queue_.notify(poll_event::readable);
    return ERR_OK;
}

Result<Socket*> TcpSocket::accept(bool nonblocking) noexcept {
    if (state_ != State::listening)
        return Errno::inval;
    for (;;) {
        TRY(wait_ready(queue_.waiters, nonblocking, options.receive_timeout,
                       [&] { return waiting_ != nullptr || read_closed_; }));
        StackGuard guard;
        if (read_closed_)
            return Errno::inval;
        TcpSocket* socket = waiting_;
        if (socket == nullptr)
            continue;
        waiting_ = std::exchange(socket->next_waiting_, nullptr);
        if (socket->pcb_ != nullptr)
            tcp_backlog_accepted(socket->pcb_);
        return static_cast<Socket*>(socket);
    }
}

Status TcpSocket::shutdown(int how) noexcept {
    const bool reads = how == 0 || how == 2;
    const bool writes = how == 1 || how == 2;
    StackGuard guard;
    if (state_ == State::listening && reads) {
        read_closed_ = true;
        queue_.notify(poll_event::readable);
        return {};
    }
    if (state_ != State::connected || pcb_ == nullptr)
        return Errno::notconn;
    if (reads)
        read_closed_ = true;
    if (writes && !write_closed_) {
        write_closed_ = true;
        (void)tcp_shutdown(pcb_, 0, 1);
    }
    queue_.notify(0);
    return {};
}

Status TcpSocket::local_address(Address& out) noexcept {
    StackGuard guard;
    ip4_addr_t ip{};
    if (pcb_ == nullptr)
        encode(out, ip, 0);
    else
        encode(out, pcb_->local_ip, pcb_->local_port);
    return {};
}

Status TcpSocket::peer_address(Address& out) noexcept {
    StackGuard guard;
    if (state_ != State::connected || pcb_ == nullptr)
        return Errno::notconn;
    encode(out, pcb_->remote_ip, pcb_->remote_port);
    return {};
}

Result<std::size_t> TcpSocket::send(Message& message) noexcept {
    const bool nonblocking = (message.flags & message_flag::dontwait) != 0;
    constexpr std::uint32_t more_follows = 0x8000;
    MutexGuard one_writer{send_lock_};
    if (buffer_ == nullptr)
        buffer_ = static_cast<char*>(alloc_buffer(buffer_order_));
    if (buffer_ == nullptr)
        return Errno::nobufs;
    std::size_t total = 0;
    while (message.data.remaining() != 0) {
        if (state_ == State::fresh || state_ == State::listening)
            return Errno::notconn;
        auto ready = wait_ready(queue_.waiters, nonblocking, options.send_timeout,
                                [&] { return can_send(); });
        if (!ready)
            return total != 0 ? Result<std::size_t>{total} : Result<std::size_t>{ready.error()};
        if (pcb_ == nullptr || write_closed_) {
            const Errno why = take_error();
            if (total != 0)
                return total;
            return why == Errno::connreset ? why : Errno::pipe;
        }
        std::size_t size = room();
        const std::size_t most = page_size << buffer_order_;
        size = size < most ? size : most;
        size = size < message.data.remaining() ? size : message.data.remaining();
        auto taken = message.data.get(buffer_, size);
        StackGuard guard;
        if (pcb_ == nullptr)
            continue;
        use_long_segments(*pcb_);
        const bool last = message.data.remaining() == 0 && (message.flags & more_follows) == 0;
        const err_t status = !taken
                                 ? err_t{ERR_VAL}
                                 : tcp_write(pcb_, buffer_, static_cast<u16_t>(*taken),
                                             static_cast<u8_t>(TCP_WRITE_FLAG_COPY |
                                                               (last ? 0 : TCP_WRITE_FLAG_MORE)));
        // More of the same call comes at once: it may fill the last segment.
        if (status != ERR_OK || message.data.remaining() == 0 || room() == 0)
            (void)tcp_output(pcb_);
        if (!taken && total == 0)
            return taken.error();
        if (status != ERR_OK)
            return total != 0 ? Result<std::size_t>{total}
                              : Result<std::size_t>{errno_of_lwip(status)};
        total += *taken;
    }
    return total;
}

/// Frees what was read and opens the window again; stack held.
void TcpSocket::release_consumed(std::size_t count) noexcept {
    available_ -= count;
    offset_ += count;
    while (first_ != nullptr && offset_ >= first_->len) {
        pbuf* done = first_;
        offset_ -= done->len;
        first_ = done->next;
        if (first_ == nullptr)
            last_ = nullptr;
        done->next = nullptr;
        done->tot_len = done->len;
        pbuf_free(done);
    }
    if (pcb_ == nullptr)
        return;
    while (count != 0) {
        const auto part = static_cast<u16_t>(count < 0xffff ? count : 0xffff);
        tcp_recved(pcb_, part);
        count -= part;
    }
}

Result<std::size_t> TcpSocket::receive(Message& message) noexcept {
    const bool nonblocking = (message.flags & message_flag::dontwait) != 0;
    const bool peek = (message.flags & message_flag::peek) != 0;
    const bool all = (message.flags & message_flag::waitall) != 0 && !peek;
    if (state_ == State::fresh || state_ == State::listening)
        return Errno::notconn;
    if (message.address != nullptr)
        (void)peer_address(*message.address);
    MutexGuard one_reader{receive_lock_};
    std::size_t total = 0;
    do {
        auto ready = wait_ready(queue_.waiters, nonblocking, options.receive_timeout, [&] {
            return available_ != 0 || end_seen_ || read_closed_ || pcb_ == nullptr;
        });
        if (!ready)
            return total != 0 ? Result<std::size_t>{total} : Result<std::size_t>{ready.error()};
        std::size_t there = available_;
        if (there == 0) {
            const Errno why = total != 0 || end_seen_ ? Errno::ok : take_error();
            return why == Errno::ok ? Result<std::size_t>{total} : Result<std::size_t>{why};
        }
        // Buffers are only ever added behind what is counted in `there`, so no lock is needed to
        // copy.
        std::size_t copied = 0;
        std::size_t at = offset_;
        Errno fault = Errno::ok;
        for (const pbuf* p = first_; there != 0 && message.data.remaining() != 0;
             p = p->next, at = 0) {
            const std::size_t part = p->len - at < there ? p->len - at : there;
            auto put = message.data.put(static_cast<const char*>(p->payload) + at, part);
            if (!put) {
                fault = put.error();
                break;
            }
            copied += *put;
            there -= *put;
            if (*put < part)
                break;
        }
        if (copied == 0 && fault != Errno::ok)
            return total != 0 ? Result<std::size_t>{total} : Result<std::size_t>{fault};
        total += copied;
        if (peek)
            return total;
        StackGuard guard;
        release_consumed(copied);
    } while (all && message.data.remaining() != 0);
    return total;
}

std::uint32_t TcpSocket::poll(PollTable* table) noexcept {
    if (table != nullptr)
        table->watch(queue_);
    std::uint32_t events = 0;
    switch (state_) {
    case State::listening:
        return waiting_ != nullptr || read_closed_ ? poll_event::readable : 0;
    case State::fresh:
        return poll_event::writable | poll_event::hup;
    case State::dead:
        events = poll_event::readable | poll_event::writable | poll_event::hup | poll_event::rdhup;
        break;
    case State::connecting:
        return 0;
    case State::connected:
        if (pcb_ != nullptr && room() >= TCP_SND_BUF / 4)
            events |= poll_event::writable;
        break;
    }
    if (available_ != 0 || end_seen_ || read_closed_)
        events |= poll_event::readable;
    if (end_seen_ || read_closed_)
        events |= poll_event::rdhup;
    if (end_seen_ && write_closed_)
        events |= poll_event::hup;
    if (error != Errno::ok)
        events |= poll_event::err;
    return events;
}

Result<std::int64_t> TcpSocket::ioctl(std::uint32_t command, std::uint64_t argument) noexcept {
    constexpr std::uint32_t fionread = 0x541b;
    if (command != fionread)
        return Errno::notty;
    TRY(write_user(argument, static_cast<int>(available_)));
    return 0;
}

Status TcpSocket::set_option(int level, int name, const char* value, std::size_t size) noexcept {
    enum : int {
        level_socket = 1,
        level_tcp = 6,
        socket_keepalive = 9,
        nodelay = 1,
        keepidle = 4,
        keepintvl,
        keepcnt
    };
    const int number = size >= 4 ? *reinterpret_cast<const int*>(value) : 0;
    StackGuard guard;
    if (level == 0)
        return set_ip_option(state_ == State::listening ? nullptr : pcb_, name, value, size);
    if (level == level_socket && name == socket_keepalive && pcb_ != nullptr) {
        options.keep_alive = number != 0;
        pcb_->so_options = static_cast<u8_t>(number != 0 ? pcb_->so_options | SOF_KEEPALIVE
                                                         : pcb_->so_options & ~SOF_KEEPALIVE);
        return {};
    }
    if (level != level_tcp)
        return Errno::noprotoopt;
    if (pcb_ == nullptr || state_ == State::listening)
        return {};
    switch (name) {
    case nodelay:
        no_delay_ = number != 0;
        if (no_delay_)
            tcp_nagle_disable(pcb_);
        else
            tcp_nagle_enable(pcb_);
        return {};
    case keepidle:
        pcb_->keep_idle = static_cast<u32_t>(number) * 1000;
        return {};
    case keepintvl:
        pcb_->keep_intvl = static_cast<u32_t>(number) * 1000;
        return {};
    case keepcnt:
        pcb_->keep_cnt = static_cast<u32_t>(number);
        return {};
    default:
        return {}; // corking, quick acknowledgements ...: hints
    }
}

Result<int> TcpSocket::get_option(int level, int name) noexcept {
    enum : int { level_tcp = 6, nodelay = 1, maxseg = 2 };
    if (level == 0)
        return get_ip_option(state_ == State::listening ? nullptr : pcb_, name);
    if (level != level_tcp)
        return Errno::noprotoopt;
    if (name == nodelay)
        return no_delay_ ? 1 : 0;
    return name == maxseg ? TCP_MSS : 0;
}

void TcpSocket::discard_input() noexcept {
    while (first_ != nullptr) {
        pbuf* done = first_;
        first_ = done->next;
        done->next = nullptr;
        done->tot_len = done->len;
        pbuf_free(done);
    }
    last_ = nullptr;
}

/// The connection may live on in lwIP to send what is queued; it no longer knows this object.
void TcpSocket::close() noexcept {
    TcpSocket* pending = nullptr;
    {
        StackGuard guard;
        discard_input();
        pending = std::exchange(waiting_, nullptr);
        if (pcb_ != nullptr) {
            tcp_arg(pcb_, nullptr);
            if (state_ == State::listening) {
                tcp_accept(pcb_, nullptr);
                (void)tcp_close(pcb_);
            } else {
                tcp_recv(pcb_, nullptr);
                tcp_sent(pcb_, nullptr);
                tcp_err(pcb_, nullptr);
                if (tcp_close(pcb_) != ERR_OK)
                    tcp_abort(pcb_);
            }
            pcb_ = nullptr;
        }
    }
    while (pending != nullptr) {
        TcpSocket* next = pending->next_waiting_;
        pending->close();
        pending = next;
    }
    delete this;
}

} // namespace

Result<Socket*> make_tcp_socket() noexcept {
    StackGuard guard;
    tcp_pcb* pcb = tcp_new();
    if (pcb == nullptr)
        return Errno::nobufs;
    auto* socket = new (std::nothrow) TcpSocket{pcb};
    if (socket == nullptr) {
        tcp_abort(pcb);
        return Errno::nomem;
    }
    return static_cast<Socket*>(socket);
}

} // namespace kernel::net
